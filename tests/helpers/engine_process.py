"""Runs pickled work in a process of its own, so that tests can kill it: ``engine_process.py WORK plain|dask``."""

import pickle
import sys
from pathlib import Path

from flows.cluster.engine import ClusterSettings, open_engine
from tasks.segment.graph import Engine, PlainEngine
from tasks.segment.store import BlockStore
from tasks.segment.work import Work


def run(work: Work, engine: Engine) -> None:
    blocks = work.plan.blocks(work.scene.frame)
    done = BlockStore(work.store).committed(blocks)
    say("begun")
    for _ in engine.run_blocks(work, [block for block in blocks if block not in done]):
        pass
    say("ended")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    work = pickle.loads(Path(sys.argv[1]).read_bytes())
    if sys.argv[2] == "plain":
        run(work, PlainEngine())
    else:
        with open_engine(ClusterSettings(workers=2, device="cpu")) as engine:
            run(work, engine)
