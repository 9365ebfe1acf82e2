"""The detail of one mask, which opens from any page."""
