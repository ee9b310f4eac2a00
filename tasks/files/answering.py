"""The other side of ``tasks.files.child_process``: a program that answers line by line."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable


def answer_lines(answer: Callable[[str], str], most_bytes: int) -> None:
    """Say that this process is ready, and answer each line of standard input with one, until the input ends.

    Args:
        answer: Makes an answer, without an end of line, of a request.
        most_bytes: Of address space that this process may take.
    """
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # C libraries print where they like; only answers may reach the pipe.
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        answers.write("ready\n")
        for line in sys.stdin:
            answers.write(answer(line) + "\n")
