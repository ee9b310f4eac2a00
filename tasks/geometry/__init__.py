"""Windows, grids, and the way from one to the other; no file, no format."""
