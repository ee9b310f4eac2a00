"""How the steps of a run are carried out, and who is told of it: by Prefect, or by this process alone."""
