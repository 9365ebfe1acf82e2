"""What each step of the Guide shows, in the order of the method."""
