"""Labelled scenes, the simple method to beat, a scene segmented in this process."""
