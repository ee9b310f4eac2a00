"""Weight files and state dicts, read without running code."""
