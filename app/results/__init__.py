"""The Results page: what each stage brought, by class and by photo; another run beside it; new photos."""
