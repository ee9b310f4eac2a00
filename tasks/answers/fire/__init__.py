"""Fires: their indices, severity, extent, and how they grow from night to night."""
