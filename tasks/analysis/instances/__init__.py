"""Objects of rasters and volumes, as products."""
