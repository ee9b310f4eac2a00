"""Night after night: what came, what was done, what is missing."""
