"""MaskDistill: unsupervised semantic segmentation from the object masks of a self-supervised vision transformer."""

__version__ = "0.1.0"
