"""Verdicts on inputs before any work is done on them."""
