"""The Start page: choose photos and weights, and find the masks."""
