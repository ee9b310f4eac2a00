"""From a finished mask to the numbers, tables and pictures of a product."""
