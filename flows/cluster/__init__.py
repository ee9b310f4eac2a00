"""Dask: a cluster of our own or a running one, who may work, what workers must see."""
