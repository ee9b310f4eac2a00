"""Whether what would be the earlier scene of another can be read: looked at before it is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tasks.files.declared import is_local
from tasks.inputs.earlier import Refusal
from tasks.verdict.guard import Guard


@contextmanager
def looked_at(kind: str) -> Iterator[Refusal]:
    """Look at files in a process of their own, as scenes are checked before work; at each of them once.

    Args:
        kind: Of the job's scenes.
    """
    known: dict[str, str | None] = {}
    with Guard() as guard:

        def refusal(path: str) -> str | None:
            if path not in known:
                known[path] = _look(guard, path, kind)
            return known[path]

        yield refusal


def _look(guard: Guard, path: str, kind: str) -> str | None:
    # What lies behind an address and cannot be read now may be there tomorrow: it is waited for, not replaced.
    if not is_local(path):
        return None
    verdict = guard.ask({"path": path, "kind": kind})
    return None if verdict.go else f"{verdict.error}: {verdict.message}"
