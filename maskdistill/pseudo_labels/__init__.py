"""What the first model believes: which masks are kept, and the label maps painted of them. The third idea."""
