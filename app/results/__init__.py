"""The Results page: what each stage brought, class by class and photo by photo, another run, and photos dropped in."""
