"""The weights that ship, each beside its card."""
