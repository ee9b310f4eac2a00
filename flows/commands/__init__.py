"""What the command line is made of: options, commands that are more than a call, tables."""
