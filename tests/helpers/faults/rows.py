"""The rows of the fault table: what is done to a run at a random moment, and what an operator does after it."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from distributed import Client

from faults.runs import Run
from faults.scenes import GOOD, write_good
from faults.world import STRANGE, World


@dataclass(frozen=True)
class Scenario:
    """What a fault can get hold of.

    Attributes:
        world: The services.
        run: The run under way.
        rng: Decides everything that is random.
        scenes: Folder of the inputs.
        out: Folder of the products.
    """

    world: World
    run: Run
    rng: random.Random
    scenes: Path
    out: Path


@dataclass(frozen=True)
class Fault:
    """A row of the table.

    Attributes:
        title: For people.
        times: How often it has to meet a run that has begun and not ended.
        strike: What happens.
        mend: What an operator does before the command is given again.
        needs: Services: ``server``, ``postgres``, ``cluster``, ``prefect-worker``.
        inspect: What is to be seen before that, beside the products; returns problems.
        limit_s: After which a run counts as hung.
        survives: Whether the run has to end well by itself.
        moment: When it strikes: at ``any`` time of a run, once its ``flow`` has begun, or at the ``start``.
    """

    title: str
    times: int
    strike: Callable[[Scenario], None]
    mend: Callable[[Scenario], None] = lambda scenario: None
    needs: tuple[str, ...] = ("server", "cluster")
    inspect: Callable[[Scenario], list[str]] = lambda scenario: []
    limit_s: float = 600.0
    survives: bool = False
    moment: Literal["any", "flow", "start"] = "any"


def _kill_dask_worker(scenario: Scenario) -> None:
    processes = scenario.world.worker_processes()
    if processes:
        scenario.rng.choice(processes).kill()


def _kill_scheduler(scenario: Scenario) -> None:
    scenario.world.kill("scheduler")


def _start_cluster(scenario: Scenario) -> None:
    # Workers whose scheduler is gone end by themselves; whoever looks after them starts them again.
    for name in [name for name in scenario.world.services if name.startswith("dask-")]:
        scenario.world.kill(name)
    scenario.world.start_cluster()


def _start_missing_workers(scenario: Scenario) -> None:
    # A worker that has lost its scheduler ends by itself, and its nanny with it.
    scenario.world.start_cluster()


def _kill_flow(scenario: Scenario) -> None:
    scenario.run.kill()


def _kill_prefect_worker(scenario: Scenario) -> None:
    os.kill(scenario.world.services["prefect-worker"].pid, signal.SIGKILL)


def _start_prefect_worker(scenario: Scenario) -> None:
    scenario.world.start_prefect_worker()


def _kill_all(scenario: Scenario) -> None:
    scenario.run.kill()
    scenario.world.stop()


def _start_all(scenario: Scenario) -> None:
    world = scenario.world
    world.start_database()
    world.start_server()
    world.start_cluster()
    world.start_prefect_worker()


def _server_away(seconds: float) -> Callable[[Scenario], None]:
    def strike(scenario: Scenario) -> None:
        scenario.world.kill("server")
        time.sleep(seconds)
        scenario.world.start_server()

    return strike


def _restart_database(scenario: Scenario) -> None:
    scenario.world.kill("postgres")
    scenario.world.start_database()


def _replace_input(scenario: Scenario) -> None:
    name = scenario.rng.choice(GOOD)
    fresh = write_good(scenario.scenes.parent / f"{name}.tif", seed=100 + GOOD.index(name))
    fresh.replace(scenario.scenes / f"{name}.tif")


def _grow_disk(scenario: Scenario) -> None:
    subprocess.run(["mount", "-o", "remount,size=512m", str(scenario.out)], check=True)


def _start_strange_worker(scenario: Scenario) -> None:
    scenario.world.start_strange_worker()


def _stop_strange_worker(scenario: Scenario) -> None:
    scenario.world.kill(STRANGE)


def _strange_worker_problems(scenario: Scenario) -> list[str]:
    with Client(scenario.world.cluster, set_as_default=False) as client:
        done = client.run(lambda dask_worker: (dask_worker.name, dask_worker.state.executed_count))
    return [f"the strange worker did {count} tasks" for name, count in done.values() if name == STRANGE and count]


def _part_workers(scenario: Scenario) -> None:
    link = f"swf{scenario.world.port}b{scenario.rng.randrange(2)}"
    subprocess.run(["ip", "link", "set", link, "down"], check=True)
    time.sleep(scenario.rng.uniform(10, 30))
    subprocess.run(["ip", "link", "set", link, "up"], check=True)


ROWS = {
    "dask-worker": Fault("`kill -9` of a Dask worker", 20, _kill_dask_worker, survives=True),
    "scheduler": Fault("`kill -9` of the Dask scheduler", 20, _kill_scheduler, _start_cluster),
    "flow": Fault("`kill -9` of the flow's process", 20, _kill_flow),
    "prefect-worker": Fault(
        "`kill -9` of the Prefect worker", 20, _kill_prefect_worker, _start_prefect_worker,
        needs=("server", "cluster", "prefect-worker"), survives=True,
    ),
    "all": Fault(
        "`kill -9` of all of them, server and PostgreSQL too", 20, _kill_all, _start_all,
        needs=("postgres", "server", "cluster", "prefect-worker"),
    ),
    "server-20s": Fault("server away for 20 s", 3, _server_away(20), survives=True, moment="flow"),
    "server-180s": Fault("server away for 3 minutes", 3, _server_away(180), survives=True, moment="flow"),
    "postgres": Fault(
        "PostgreSQL killed and started again", 3, _restart_database, needs=("postgres", "server", "cluster"),
        survives=True, moment="flow",
    ),
    "disk-full": Fault("disk full", 6, lambda scenario: None, _grow_disk, moment="start"),
    "input": Fault("input replaced during the run", 10, _replace_input),
    "strange-worker": Fault(
        "a worker with another package version joins", 3, _start_strange_worker, _stop_strange_worker,
        inspect=_strange_worker_problems, survives=True,
    ),
    "partition": Fault(
        "one worker's network away for 10 to 30 s", 3, _part_workers, _start_missing_workers, survives=True,
    ),
}  # fmt: skip
