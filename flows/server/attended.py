"""Runs a program for as long as whoever started this one lives: ``python -m flows.server.attended PROGRAM``.

Standard input is a pipe that the other process holds open. When it closes, by the other's will or because a signal
killed it, the program is ended.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from threading import Thread

_ENDING_S = 5.0


def main() -> int:
    """Run the program that the command line names, and return its exit code.

    It inherits what this process does: a socket that is bound already, among other things.
    """
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, close_fds=False)

    def end() -> None:
        # Returns when nobody holds the other end any more.
        sys.stdin.buffer.read()
        program.terminate()
        try:
            program.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            program.kill()

    Thread(target=end, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: program.terminate())
    return program.wait()


if __name__ == "__main__":
    sys.exit(main())
