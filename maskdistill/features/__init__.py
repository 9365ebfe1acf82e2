"""The frozen transformer: which weights, one forward pass, the tokens of every patch."""
