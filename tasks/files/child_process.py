"""A persistent child process that opens what may crash, hang or exhaust whoever opens it."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from time import monotonic

from tasks.files.safe_path import SAFE

_START_LIMIT_S = 120.0
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GDAL_NUM_THREADS")
_READ_BYTES = 1 << 16


class ReaderStoppedError(Exception):
    """The child died or was stopped; the text says how."""


class ChildProcess:
    """Asks a module, run as a program, one line after the other, and starts another process when one dies.

    The child says a line when it is ready, and one for every line that it is given. It has one thread, and what C
    libraries print goes nowhere. What it may take of memory is for the module to say.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._child: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._pending = bytearray()
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close

    def start(self) -> None:
        """Start the child, which gets ready while the caller does something else; otherwise the first request does."""
        if self._child is None:
            self._begin()

    def close(self) -> None:
        """End the child, which has nothing to leave in order."""
        if self._child is not None:
            self._child.kill()
        self._stop()
        self._noise.close()

    def exchange(self, request: str, limit_s: float) -> str:
        """Return the answer to a request.

        Args:
            request: One line, without its end.
            limit_s: How long the child may take.

        Raises:
            ReaderStoppedError: When it dies, or was ended because it took longer.
        """
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
            child = self._begin()
        else:
            child = self._child
        if not self._is_ready:
            self._line(_START_LIMIT_S)
            self._is_ready = True
        return child

    def _begin(self) -> subprocess.Popen[bytes]:
        self._pending.clear()
        self._is_ready = False
        self._child = subprocess.Popen(
            [sys.executable, SAFE, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._noise,
            env={**os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONWARNINGS": "ignore"},
            # What ends a command from the keyboard would be taken for a crash of the reader.
            process_group=0,
        )
        return self._child

    def _line(self, limit_s: float) -> str:
        deadline = monotonic() + limit_s
        if self._child is None or self._child.stdout is None:
            raise ReaderStoppedError("its reader has no output")
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            while (end := self._pending.find(b"\n")) < 0:
                if not selector.select(max(0.0, deadline - monotonic())):
                    self._stop()
                    raise ReaderStoppedError(f"reading it took longer than {limit_s:g} s")
                data = os.read(self._child.stdout.fileno(), _READ_BYTES)
                if not data:
                    raise ReaderStoppedError(self._epitaph())
                self._pending += data
        line = self._pending[:end].decode()
        del self._pending[: end + 1]
        return line

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
