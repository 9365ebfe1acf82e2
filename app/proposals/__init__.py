"""The Proposals page: the masks of a photo, each step that led to them, and settings to try."""
