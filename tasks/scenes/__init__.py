"""What comes in: rasters and volumes."""
