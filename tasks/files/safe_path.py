"""Children that import what is installed, and never what lies in the current folder."""

from __future__ import annotations

# Option of Python for a child that is started with -m, which otherwise puts the current folder first in its path.
SAFE = "-P"
# The same for all that children start in their turn: Prefect's -m uvicorn, Dask's -c of multiprocessing.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
# Where nobody but the administrator leaves anything: to start a child in that reads more than modules where it is.
NEUTRAL = "/"
