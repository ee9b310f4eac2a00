"""Sends signals to commands at every stage of a run, and looks at what they leave: ``python -m signalled``."""
