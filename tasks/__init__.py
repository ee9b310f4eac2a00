"""The work, as plain typed functions on arrays."""
