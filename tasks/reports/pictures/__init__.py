"""Pictures, and charts on pages."""
