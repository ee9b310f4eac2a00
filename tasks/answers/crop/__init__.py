"""Crop areas as statistics, sampling designs, fields and weed pressure: numbers from arrays."""
