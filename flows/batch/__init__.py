"""A batch, from the order to the index page."""
