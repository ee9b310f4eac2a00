"""The engine: from a scene to stitched classes."""
