"""Ground truth and comparisons. For reporting only: nothing that trains or chooses imports this."""
