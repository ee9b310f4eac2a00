"""A raster as a scene: opening it safely, its header, bands and grid, reads."""
