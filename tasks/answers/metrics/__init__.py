"""Agreement of a predicted mask with a reference, every convention named."""
