"""Predicted masks and their references, for ``swathe evaluate``."""
