"""The frozen vision transformer: which weights, one forward pass, patch tokens.

Read ``registry`` (what a name means), ``backbone`` (a transformer on a device), ``forward`` (the pass).
"""
