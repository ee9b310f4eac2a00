"""What can break under a run, broken on purpose, and a program that looks at what is left."""
