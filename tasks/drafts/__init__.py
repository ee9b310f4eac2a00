"""Jobs that are written for the files that somebody has."""
