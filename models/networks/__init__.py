"""The networks of the field."""
