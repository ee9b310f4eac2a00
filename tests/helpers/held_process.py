"""The command line, held at a point of a run, so that tests can kill it there: ``held_process.py POINT WORD...``.

The point is ``blocks`` or ``publish``. It says ``held`` there, and goes no further.
"""

import sys
import threading

from flows.batch import steps
from flows.commands.app import main
from flows.display.progress import SceneProgress

# Of blocks that have ended.
N_BLOCKS = 5


def hold(*_: object) -> None:
    sys.stdout.write("held\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    point, *sys.argv[1:] = sys.argv[1:]
    advance = SceneProgress.advance

    def counted(progress: SceneProgress) -> None:
        advance(progress)
        if progress.done >= N_BLOCKS:
            hold()

    if point == "blocks":
        SceneProgress.advance = counted
    else:
        steps.publish_product = hold
    main()
