"""Segmenters that look at the values of a scene itself: thresholds, k-means, mixtures, mean shift."""
