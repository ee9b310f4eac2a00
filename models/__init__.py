"""The networks, and how to run and fit one; the only package that knows torch."""
