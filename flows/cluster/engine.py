"""The Dask cluster: one of this machine's own, or a running one."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import signal
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dask
import psutil
from distributed import Client, Nanny, Scheduler, Security, SpecCluster, Status
from distributed.deploy.spec import close_clusters
from distributed.versions import VersionMismatchWarning

from flows.cluster.certificates import new_security
from flows.cluster.environment import Shared
from flows.cluster.pulse import pulse_watched
from flows.cluster.roster import Roster, watched
from flows.cluster.seed import ENVIRONMENT, start_seed
from flows.orchestration.interruption import interruption, unheard
from tasks.errors import ClusterError
from tasks.segment.graph import DaskEngine, FixedSlots

# At the end of the interpreter it would wait for clusters that a signal has ended; ours end with their contexts.
atexit.unregister(close_clusters)

_SETTINGS: dict[str, Any] = {
    # A block that was lost with its worker is blamed by us, after it ran alone.
    "distributed.scheduler.allowed-failures": 0,
    # Blocks hold what they were planned to hold; pausing a worker in the middle of one helps nobody.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # It would keep the call trees of every second of an hour, in each worker.
    "distributed.worker.profile.enabled": False,
    # A block that lets no other thread run for minutes is no dead worker: see flows.cluster.pulse.
    "distributed.scheduler.worker-ttl": None,
    # On a busy machine a worker takes longer than 15 s to be started again, after which it would be given up for good.
    "distributed.deploy.lost-worker-timeout": "1h",
    # Fifty times a second each process would ask itself whether it is slow.
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.disk": False,
    "distributed.worker.daemon": True,
    "distributed.worker.use-file-locking": False,
    "distributed.comm.timeouts.connect": "60s",
    # Pages and figures that they would show to whoever asks.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
# A worker on CPUs predicts two tiles side by side: fewer processes that each hold the libraries, and fewer blocks,
# whose edges are predicted twice.
_TILES_AT_ONCE = 2
_HERE = "127.0.0.1"
# Loaded by its name, by workers alone.
_LEAVING = "flows.cluster.leaving"


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Where blocks run.

    Attributes:
        address: ``local``, or the address of a running scheduler.
        workers: Worker processes of a local cluster; None for one per GPU, or as many as the cores allow.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads per worker; None to share the cores out.
        scratch: Where local workers keep their own files.
        preload: Modules that workers need: local ones import them when they start, while the inputs are still being
            looked at; those of a running cluster are asked whether they can.
        shared: What every worker of a running cluster has to see.
        priority: Of the run's blocks among those of others on a running cluster; the highest goes first.
    """

    address: str = "local"
    workers: int | None = None
    device: str = "auto"
    threads: int | None = None
    scratch: Path | None = None
    preload: tuple[str, ...] = ()
    shared: Shared = field(default_factory=Shared)
    priority: int = 0

    @property
    def gpus(self) -> list[str]:
        """GPUs that local workers may take, by number."""
        if self.device == "cpu":
            return []
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            return [gpu for gpu in visible.split(",") if gpu]
        return [str(k) for k, _ in enumerate(sorted(Path("/proc/driver/nvidia/gpus").glob("*")))]

    @property
    def resource(self) -> str:
        """What each worker offers one of."""
        return "GPU" if self.gpus else "CPU"

    @property
    def n_workers(self) -> int:
        """Worker processes of a local cluster."""
        if self.workers is not None:
            return self.workers
        return len(self.gpus) or max(1, n_cores() // (self.n_threads * _TILES_AT_ONCE))

    @property
    def n_threads(self) -> int:
        """CPU threads of each slot; part of the plan, since it decides the last bits of a float."""
        if self.threads is not None:
            return self.threads
        return max(1, n_cores() // len(self.gpus)) if self.gpus else max(1, n_cores() // 8)


@dataclass(frozen=True)
class _Early:
    """A local cluster that starts while the inputs are still being looked at.

    Attributes:
        settings: What it is started with.
        engine: The engine, once it is up.
    """

    settings: ClusterSettings
    engine: Future[DaskEngine]

    def fits(self, settings: ClusterSettings) -> bool:
        """Tell whether a run with these settings gets the workers that it would start itself."""
        own = self.settings
        return (own.n_workers, own.n_threads, own.gpus) == (settings.n_workers, settings.n_threads, settings.gpus)


def n_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0))


_early: ContextVar[_Early | None] = ContextVar("swathe_early_cluster", default=None)


@contextmanager
def started_early(settings: ClusterSettings) -> Iterator[None]:
    """Start a local cluster on a thread now, for every engine that is opened within the context.

    Importing its libraries takes a worker seconds, in which inputs can be listed and checked. Nothing happens where
    blocks run on a running cluster.
    """
    if settings.address != "local":
        yield
        return
    cluster = ExitStack()
    with ThreadPoolExecutor(1, thread_name_prefix="cluster") as thread:
        early = _Early(settings, thread.submit(cluster.enter_context, _local_engine(settings)))
        token = _early.set(early)
        try:
            yield
        finally:
            _early.reset(token)
            # What has begun to start can be stopped when it is up; an error was told to whoever asked for the engine.
            early.engine.exception()
            cluster.close()


@contextmanager
def open_engine(settings: ClusterSettings) -> Iterator[DaskEngine]:
    """Start a local cluster, or connect to a running one, for as long as the context lasts.

    A local cluster that was started early is taken instead, and goes on when this context ends. Workers of a running
    cluster are checked before they get work, also those that come later: those with other versions, other code, or
    without the shared paths are left out.

    Raises:
        ClusterError: When no scheduler answers, or no worker may take blocks; with each worker's reason.
    """
    early = _early.get()
    if settings.address == "local":
        if early is not None and early.fits(settings):
            yield early.engine.result().at(settings.priority)
        else:
            with _local_engine(settings) as engine:
                yield engine
    else:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        with (
            dask.config.set(_SETTINGS | _for_workers(settings)),
            _connect(settings.address) as client,
            _running_engine(client, settings) as engine,
        ):
            yield engine


@contextmanager
def _local_engine(settings: ClusterSettings) -> Iterator[DaskEngine]:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        _scratch(settings) as scratch,
        dask.config.set(_SETTINGS | _for_workers(settings) | _for_processes(start_seed(), scratch)),
        _closed(_local_cluster(settings)) as cluster,
        Client(cluster, set_as_default=False) as client,
        pulse_watched(client),
        _quickly_ended(cluster, scratch),
    ):
        client.wait_for_workers(settings.n_workers, timeout=120)
        yield DaskEngine(
            client=client, resource=settings.resource, slots=FixedSlots(settings.n_workers), priority=settings.priority
        )


@contextmanager
def _scratch(settings: ClusterSettings) -> Iterator[Path]:
    """Make a folder for what the parts of one cluster keep, in the one of the settings or of the system."""
    if settings.scratch is not None:
        settings.scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=settings.scratch, prefix="cluster-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def _quickly_ended(cluster: SpecCluster, scratch: Path) -> Iterator[None]:
    """End workers by force when the context ends: they have no block then, or none that is waited for.

    Asked to close, they take two seconds, a sixth of the time of a small run.
    """
    interruption.write_down("cluster", lambda text: _end_at_once(cluster, scratch))
    try:
        yield
    finally:
        _end_workers(cluster)


@contextmanager
def _closed(cluster: SpecCluster) -> Iterator[SpecCluster]:
    """Close a cluster behind its context, and end by force what does not end in time.

    All that was asked of it is done by then: on a machine that others keep busy, processes take longer to end than Dask
    waits for them, and that is no reason to fail.
    """
    held = ExitStack()
    opened = held.enter_context(cluster)
    try:
        yield opened
    finally:
        try:
            held.close()
        except TimeoutError:
            _end_workers(cluster)


def _end_at_once(cluster: SpecCluster, scratch: Path) -> None:
    _end_workers(cluster)
    shutil.rmtree(scratch, ignore_errors=True)


def _end_workers(cluster: SpecCluster) -> None:
    for nanny in cluster.workers.values():
        pid = nanny.pid
        # Otherwise it would start another process.
        nanny.status = Status.closing_gracefully
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _connect(address: str) -> Client:
    # Which workers differ, and in what, the roster says by name.
    warnings.filterwarnings("ignore", category=VersionMismatchWarning)
    try:
        return Client(address, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(f"{address}: no Dask scheduler answers there. Check --cluster, or leave it out") from error
    except (TypeError, RuntimeError) as error:
        raise ClusterError(
            f"{address}: cannot be reached without certificates ({error}). Name them under distributed.comm.tls in "
            "Dask's configuration, see docs/operations.md"
        ) from error


@contextmanager
def _running_engine(client: Client, settings: ClusterSettings) -> Iterator[DaskEngine]:
    roster = Roster(client, settings.preload, settings.shared)
    roster.open(settings.address)
    engine = DaskEngine(client=client, resource=roster.resource, slots=roster, priority=settings.priority)
    with watched(roster, engine, settings.address), pulse_watched(client):
        yield engine


def _local_cluster(settings: ClusterSettings) -> SpecCluster:
    # Whoever reaches a scheduler can run programs as its owner, and other users of the machine reach 127.0.0.1: they
    # have no certificate, which is in the memory of this cluster's processes alone.
    security = new_security()
    specification = {f"worker-{k}": _worker(settings, k, security) for k in range(settings.n_workers)}
    scheduler = {"cls": Scheduler, "options": {"port": 0, **_own(security), "dashboard_address": f"{_HERE}:0"}}
    # A signal for the command is none for its workers: what they are in the middle of would fail, and scenes with it.
    with unheard():
        return SpecCluster(
            workers=specification, scheduler=scheduler, security=security, silence_logs="CRITICAL", name="swathe"
        )


def _own(security: Security) -> dict[str, Any]:
    """Return where every part of a local cluster listens, and whom it lets in."""
    return {"host": _HERE, "protocol": "tls", "security": security, "dashboard": False}


def _for_workers(settings: ClusterSettings) -> dict[str, Any]:
    return {"distributed.worker.preload": [_LEAVING, *settings.preload]}


def _for_processes(method: str, scratch: Path) -> dict[str, Any]:
    return {
        "distributed.worker.multiprocessing-method": method,
        "distributed.nanny.pre-spawn-environ": ENVIRONMENT,
        "temporary-directory": str(scratch),
    }


def _environment(settings: ClusterSettings, number: int) -> dict[str, str]:
    """Return what libraries of networks read when a worker loads them."""
    threads = str(settings.n_threads)
    gpus = settings.gpus
    device = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
    return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} | device


def _worker(settings: ClusterSettings, number: int, security: Security) -> dict[str, Any]:
    options = {
        **_own(security),
        # One thread holds the device; beside it the last scene is finished and analysed.
        "nthreads": 3,
        "resources": {settings.resource: 1},
        "env": _environment(settings, number),
        "memory_limit": psutil.virtual_memory().total,
    }
    return {"cls": Nanny, "options": options}
