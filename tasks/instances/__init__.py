"""Instances: from what tiles show of objects to whole objects with ids."""
