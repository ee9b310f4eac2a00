"""A persistent child process that checks inputs, and survives none of what it must not survive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from models.errors import SwatheError
from tasks.errors import UnreadableSceneError
from tasks.files.child_process import ChildProcess, ReaderStoppedError
from tasks.verdict.verdict import Verdict


class Guard:
    """Asks a child process for verdicts, and starts another when one dies.

    The child may take 2 GiB of address space and ``limit_s`` per request.
    """

    def __init__(self, limit_s: float = 20.0) -> None:
        self._limit_s = limit_s
        self._child = ChildProcess("tasks.verdict.child")

    def __enter__(self) -> Guard:
        self._child.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close()

    def ask(self, request: Mapping[str, Any], n_files: int = 1) -> Verdict:
        """Return the verdict on a request; a child that does not answer is a refusal.

        Args:
            request: ``path`` and ``kind`` of a file; or ``id``, ``files``, ``stated`` of a scene with the ``kind`` and
                ``source`` of a job, ``channels``, ``model`` and ``numbers`` of a card, and bands that are read
                ``beside`` them.
            n_files: By how much the time limit is multiplied.
        """
        name = str(request.get("id") or request["path"])
        try:
            line = self._child.exchange(json.dumps(request), self._limit_s * max(1, n_files))
        except ReaderStoppedError as stopped:
            error: SwatheError = UnreadableSceneError(
                f"{name}: {stopped}. The file is damaged, or built to do harm; copy it again or leave it out"
            )
            return Verdict.refusal(name, request["kind"] or "unknown", error)
        return Verdict.from_json(line)
