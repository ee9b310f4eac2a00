"""Which scenes there are: what a user named, folders, tables, STAC; ids, dates, sites."""
