"""One photo: from its features to object masks with a score. The first idea."""
