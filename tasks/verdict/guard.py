"""A persistent child process that checks inputs, and survives none of what it must not survive."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from time import monotonic
from types import TracebackType
from typing import Any

from models.errors import SwatheError
from tasks.errors import UnreadableSceneError
from tasks.files.safe_path import SAFE
from tasks.verdict.verdict import Verdict

_START_LIMIT_S = 120.0
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GDAL_NUM_THREADS")
_READ_BYTES = 1 << 16


class ReaderStoppedError(Exception):
    """The child died or was stopped; the text says how."""


class Guard:
    """Asks a child process for verdicts, and starts another when one dies.

    The child may take 2 GiB of address space and ``limit_s`` per request; it has one thread, and what C libraries
    print goes nowhere.
    """

    def __init__(self, limit_s: float = 20.0) -> None:
        self._limit_s = limit_s
        self._child: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._noise.close()

    def ask(self, request: Mapping[str, Any], n_files: int = 1) -> Verdict:
        """Return the verdict on a request; a child that does not answer is a refusal.

        Args:
            request: ``path`` and ``kind`` of a file; or ``id``, ``files``, ``stated`` of a scene with the ``kind`` and
                ``source`` of a job and ``channels``, ``model`` and ``numbers`` of a card.
            n_files: By how much the time limit is multiplied.
        """
        name = str(request.get("id") or request["path"])
        try:
            line = self._exchange(json.dumps(request), self._limit_s * max(1, n_files))
        except ReaderStoppedError as stopped:
            error: SwatheError = UnreadableSceneError(
                f"{name}: {stopped}. The file is damaged, or built to do harm; copy it again or leave it out"
            )
            return Verdict.refusal(name, request["kind"] or "unknown", error)
        return Verdict.from_json(line)

    def _exchange(self, request: str, limit_s: float) -> str:
        child = self._running()
        if child.stdin is None:
            raise ReaderStoppedError("its reader has no input")
        try:
            child.stdin.write(request.encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            raise ReaderStoppedError(self._epitaph()) from None
        return self._line(limit_s)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._stop()
            environment = {**os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONWARNINGS": "ignore"}
            self._pending = b""
            self._child = subprocess.Popen(
                [sys.executable, SAFE, "-m", "tasks.verdict.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._noise,
                env=environment,
            )
            self._line(_START_LIMIT_S)
        return self._child

    def _line(self, limit_s: float) -> str:
        deadline = monotonic() + limit_s
        if self._child is None or self._child.stdout is None:
            raise ReaderStoppedError("its reader has no output")
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - monotonic())):
                    self._stop()
                    raise ReaderStoppedError(f"reading it took longer than {limit_s:g} s")
                data = os.read(self._child.stdout.fileno(), _READ_BYTES)
                if not data:
                    raise ReaderStoppedError(self._epitaph())
                self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode()

    def _epitaph(self) -> str:
        code = self._stop()
        if code is not None and code < 0:
            return f"its reader crashed ({signal.Signals(-code).name})"
        return f"its reader crashed ({self._last_words() or f'exit code {code}'})"

    def _last_words(self) -> str:
        self._noise.seek(0)
        lines = self._noise.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip()[:200] if lines else ""

    def _stop(self) -> int | None:
        child, self._child = self._child, None
        if child is None:
            return None
        if child.stdin is not None:
            child.stdin.close()
        try:
            # A child that died is reaped at once; one that waits for input ends by itself.
            code = child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        if child.stdout is not None:
            child.stdout.close()
        return code
