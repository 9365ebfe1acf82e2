"""What each step of the guide shows."""
