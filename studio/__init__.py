"""Weft: look into a diffusion transformer while it runs, and steer it."""
__version__ = "0.1.0"
