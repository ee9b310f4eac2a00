"""The scheduled flow, and what it tells."""
