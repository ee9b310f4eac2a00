"""Reading what a user named, and writing what must survive."""
