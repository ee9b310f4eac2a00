"""Server, worker and cluster on this machine, for trying it all out."""
