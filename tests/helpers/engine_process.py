"""Runs pickled work in a process of its own, so that tests can kill it: ``engine_process.py WORK plain|dask [BLOCKS]``.

Where a number of blocks is given, it goes no further than these, the ones of earlier processes among them.
"""

import pickle
import sys
import threading
from pathlib import Path

from flows.cluster.engine import ClusterSettings, open_engine
from tasks.segment.graph import Engine, PlainEngine
from tasks.segment.store import BlockStore
from tasks.segment.work import Work


def run(work: Work, engine: Engine, held_at: int | None) -> None:
    blocks = work.plan.blocks(work.scene.frame)
    done = BlockStore(work.store).committed(blocks)
    say("begun")
    for number, _ in enumerate(
        engine.run_blocks(work, [block for block in blocks if block not in done]), len(done) + 1
    ):
        if number == held_at:
            say("held")
            threading.Event().wait()
    say("ended")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    work = pickle.loads(Path(sys.argv[1]).read_bytes())
    held_at = int(sys.argv[3]) if len(sys.argv) > 3 else None
    if sys.argv[2] == "plain":
        run(work, PlainEngine(), held_at)
    else:
        with open_engine(ClusterSettings(workers=2, device="cpu")) as engine:
            run(work, engine, held_at)
