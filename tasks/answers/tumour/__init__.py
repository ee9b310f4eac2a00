"""Lesions of a volume mask: what they measure, which are targets, how they changed."""
