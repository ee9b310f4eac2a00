"""A mask out of a file, as an analysis sees it."""
