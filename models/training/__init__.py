"""Fitting a network on arrays."""
