"""The job file, whole: every section of it, the tables that settings name, the loader."""
