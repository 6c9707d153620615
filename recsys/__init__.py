"""A distributed training job for e-commerce recommendation."""

__version__ = "0.1.0"
