"""What goes out: COG and NIfTI, published in one step."""
