"""Imported first by the process that workers are forked from, so that it ends at once when its command has ended.

Whoever reads what the command says through a pipe waits for the last process that could still say something.
"""

from __future__ import annotations

import atexit
import os
from functools import partial


def _end(seed: int) -> None:
    # Workers have this as well, and end with a code of their own.
    if os.getpid() == seed:
        os._exit(0)


# Registered first: what is registered last is called first.
atexit.register(partial(_end, os.getpid()))
