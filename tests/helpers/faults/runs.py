"""Runs of ``swathe`` in processes of their own, forked from one that has imported everything already."""

import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

HUNG = -1


@dataclass
class Run:
    """One command under way; its process leads a group of its own."""

    pid: int
    code: int | None = None

    def poll(self) -> int | None:
        if self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self, limit_s: float) -> int:
        """Return the exit code; ``HUNG`` where it had to be killed."""
        limit = time.monotonic() + limit_s
        while self.poll() is None:
            if time.monotonic() > limit:
                self.kill()
                self.code = HUNG
                return HUNG
            time.sleep(0.02)
        return self.code

    def kill(self) -> None:
        """``kill -9`` it with its group."""
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self.code = os.waitstatus_to_exitcode(status)


def swathe(arguments: list[str], log: Path) -> Run:
    """Start ``swathe ARGUMENTS``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid:
        return Run(pid)
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["swathe", *arguments]
    code = 70
    try:
        from flows.commands.app import main

        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        # Python would print it, were it not for the exit below.
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
