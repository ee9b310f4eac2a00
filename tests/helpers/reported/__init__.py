"""Cases made after public reports, run through the command line and held against what is right."""
