"""A volume as a scene: its header, axes and grid, reads."""
