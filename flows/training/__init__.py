"""``swathe train``."""
