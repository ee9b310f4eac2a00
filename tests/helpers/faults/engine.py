"""``python -m faults.engine [ROW...]``: the rows that are about Dask alone, without Prefect, so that 20 take minutes.

What is killed is a worker, the scheduler, or the process that dispatches blocks; inspected are the journal and the
bytes of the block store.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from arrays import array_scene, fake_work, read_mask

from faults.__main__ import say
from faults.runs import HUNG, Run
from faults.world import World
from tasks.segment.store import BlockStore

_TIMES = 20
_LIMIT_S = 300.0
_LOST = 3


def main(rows: list[str], port: int, until: float) -> None:
    folder = Path(tempfile.mkdtemp(prefix="swathe-engine-"))
    folder.chmod(0o755)
    # Pickled work names this folder's modules, which workers have to find.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[1:3])
    world = World(folder, port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        world.start_cluster()
        expected, seconds = _undisturbed(world, folder)
        say(f"undisturbed: {seconds:.1f} s")
        for row in rows or list(_STRIKES):
            _try_row(world, folder, row, expected, seconds, until)
    finally:
        world.stop()
        shutil.rmtree(folder)


def _try_row(world: World, folder: Path, row: str, expected: np.ndarray, seconds: float, until: float) -> None:
    told = {"times": 0, "met": 0, "went on": 0, "lost by name": 0, "problems": 0}
    for number in range(_TIMES):
        if time.time() > until:
            break
        rng = random.Random(f"{row} {number}")
        work = _work(folder / f"{row}-{number}")
        run = _begin(world, work)
        time.sleep(rng.uniform(0, seconds))
        told["met"] += run.poll() is None
        _STRIKES[row](world, run, rng)
        code = run.wait(_LIMIT_S)
        told["went on"] += code == 0
        told["lost by name"] += code == _LOST
        problems = ["hung"] if code == HUNG else []
        blocks = work.plan.blocks(work.scene.frame)
        before = {path.name: path.stat().st_mtime_ns for path in (work.store / "journal").glob("*.json")}
        if len(BlockStore(work.store).committed(blocks)) != len(before):
            problems.append("the journal holds what is not whole")
        if row == "scheduler":
            for name in [name for name in world.services if name.startswith("dask-")]:
                world.kill(name)
            world.start_cluster()
        if _begin(world, work).wait(_LIMIT_S) != 0:
            problems.append("the run after it failed")
        after = {path.name: path.stat().st_mtime_ns for path in (work.store / "journal").glob("*.json")}
        if len(after) != len(blocks) or {name: after[name] for name in before} != before:
            problems.append("blocks are missing, or whole ones were done again")
        if not np.array_equal(_bytes(work), expected):
            problems.append("other bytes")
        told["times"] += 1
        told["problems"] += len(problems)
        say(f"  {row} {number}: {code}, {len(before)} of {len(blocks)} blocks; {problems or 'well'}")
    say(f"{row}: {told}")


def _work(folder: Path):
    rng = np.random.default_rng(0)
    scene = array_scene(folder, rng.random((2, 3000, 2100)).astype(np.float32), rng.random((3000, 2100)) > 0.05)
    tiling = {"tile": 128, "halo": 8, "overlap": 16, "block": 512}
    return fake_work(scene, folder / "store", "threshold", tiling=tiling, threshold=0.5)


def _bytes(work) -> np.ndarray:
    return np.stack([read_mask(work), read_mask(work, "confidence")])


def _undisturbed(world: World, folder: Path) -> tuple[np.ndarray, float]:
    work = _work(folder / "warm")
    if _begin(world, work).wait(_LIMIT_S) != 0:
        raise SystemExit("the undisturbed run failed")
    work = _work(folder / "untouched")
    begin = time.monotonic()
    _begin(world, work).wait(_LIMIT_S)
    return _bytes(work), time.monotonic() - begin


def _begin(world: World, work) -> Run:
    pid = os.fork()
    if pid:
        return Run(pid)
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    code = 70
    try:
        code = _run(world, work)
    finally:
        os._exit(code)


def _run(world: World, work) -> int:
    from flows.cluster.engine import ClusterSettings, open_engine
    from tasks.errors import ClusterError

    blocks = work.plan.blocks(work.scene.frame)
    done = BlockStore(work.store).committed(blocks)
    try:
        with open_engine(ClusterSettings(address=world.cluster, device="cpu")) as engine:
            for _ in engine.run_blocks(work, [block for block in blocks if block not in done]):
                pass
    except ClusterError as error:
        say(f"    {error}")
        return _LOST
    return 0


def _kill_worker(world: World, run: Run, rng: random.Random) -> None:
    processes = world.worker_processes()
    if processes:
        rng.choice(processes).kill()


def _kill_scheduler(world: World, run: Run, rng: random.Random) -> None:
    world.kill("scheduler")


def _kill_client(world: World, run: Run, rng: random.Random) -> None:
    run.kill()


_STRIKES = {"client": _kill_client, "worker": _kill_worker, "scheduler": _kill_scheduler}


if __name__ == "__main__":
    main(sys.argv[3:], int(sys.argv[1]), float(sys.argv[2]))
