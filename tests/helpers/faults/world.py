"""PostgreSQL, Prefect server and worker, Dask scheduler and workers, each a process that can be taken away."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import yaml

from flows.local.processes import Service, start
from flows.server.profiles import profile

PASSWORD = "swathe:faults"
POOL = "faults"
STRANGE = "dask-strange"
# Prefect allows no heartbeat more often than this; the shipped automation waits for three of them.
GHOST_S = 45
_READY_S = 400.0
_BUSY_S = 60.0
_PYTHON = [sys.executable, "-m"]
_NO_PAGES = ["--dashboard-address", "127.0.0.1:0", "--no-dashboard"]


@dataclass
class World:
    """What runs of one place need.

    Attributes:
        folder: Everything lies in it.
        port: Of the server; the scheduler and PostgreSQL have the next ones.
        services: By name.
        prefix: In front of the command of a worker, by its number: another network namespace.
        host: Where the scheduler listens.
    """

    folder: Path
    port: int
    services: dict[str, Service] = field(default_factory=dict)
    prefix: Mapping[int, list[str]] = field(default_factory=dict)
    host: str = "127.0.0.1"
    _starts: int = 0

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def cluster(self) -> str:
        return f"tcp://{self.host}:{self.port + 1}"

    @property
    def client(self) -> dict[str, str]:
        """Environment of whoever talks to the server."""
        return {
            **profile("client"),
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_API_AUTH_STRING": PASSWORD,
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "SWATHE_CACHE": str(self.folder / "cache"),
        }

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def start(self, name: str, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        self.log(name).unlink(missing_ok=True)
        self.services[name] = start(name, command, environment or {}, self.log(name))

    def kill(self, name: str) -> None:
        """``kill -9`` a service and all that it started, as a machine that fails does."""
        service = self.services.pop(name, None)
        if service is not None and service.runs:
            os.killpg(service.pid, signal.SIGKILL)
            psutil.Process(service.pid).wait()

    def stop(self) -> None:
        for name in reversed(list(self.services)):
            self.kill(name)

    def start_database(self) -> None:
        """Start PostgreSQL, which refuses to run as root."""
        data, as_user = self.folder / "pg", _as_postgres()
        if not data.exists():
            _make_database(self, data, as_user)
        (data / "postmaster.pid").unlink(missing_ok=True)
        self.start("postgres", [*as_user, str(postgres("postgres")), "-D", str(data), "-k", str(data),
                                "-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port + 2}"])  # fmt: skip
        wait_for(lambda: "ready to accept connections" in self.log("postgres").read_text(), "postgres")

    def start_server(self) -> None:
        environment = {
            **profile("server"),
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
        }
        if "postgres" in self.services:
            url = f"postgresql+asyncpg://postgres@127.0.0.1:{self.port + 2}/postgres"
            environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = url
        self.start("server", [*_PYTHON, "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)],
                   environment)  # fmt: skip
        wait_for(self.answers, "server")

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.api}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def start_cluster(self, workers: int = 2) -> None:
        """Start the scheduler and workers that are not there, and wait until all have found one another."""
        if "scheduler" not in self.services:
            self.start("scheduler", [*_PYTHON, "dask", "scheduler", "--host", self.host, "--port", str(self.port + 1),
                                     *_NO_PAGES], _DASK)  # fmt: skip
            wait_for(lambda: "Scheduler at" in self.log("scheduler").read_text(), "scheduler")
        names = [f"dask-{number}" for number in range(workers)]
        for number, name in enumerate(names):
            if name not in self.services or not self.services[name].runs:
                self.start(name, [*self.prefix.get(number, []), *self._worker_command(number)], _DASK)
        for name in names:
            wait_for(lambda name=name: "Registered to" in self.log(name).read_text(), name)

    def start_strange_worker(self) -> None:
        """Start a worker whose Python believes in another version of numpy; see that it registers."""
        about = self.folder / "strange" / "numpy-0.0.1.dist-info"
        about.mkdir(parents=True, exist_ok=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
        path = os.pathsep.join(filter(None, [str(about.parent), os.environ.get("PYTHONPATH")]))
        command = [*self._worker_command(), "--name", STRANGE]
        self.start(STRANGE, command, {**_DASK, "PYTHONPATH": path})
        wait_for(lambda: "Registered to" in self.log(STRANGE).read_text(), STRANGE)

    def _worker_command(self, number: int = 0) -> list[str]:
        # In a network of its own it has another address.
        here = [] if number in self.prefix else ["--host", self.host]
        return [*_PYTHON, "dask", "worker", self.cluster, "--nthreads", "3", "--resources", "CPU=1",
                "--memory-limit", "0", *_NO_PAGES, *here, "--local-directory", str(self.folder / "dask")]  # fmt: skip

    def worker_processes(self) -> list[psutil.Process]:
        """Return the processes that hold blocks: what the nannies look after."""
        nannies = [psutil.Process(service.pid) for name, service in self.services.items() if name.startswith("dask-")]
        children = [child for nanny in nannies for child in nanny.children(recursive=True)]
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    def start_prefect_worker(self) -> None:
        command = [*_PYTHON, "prefect", "worker", "start", "--pool", POOL, "--type", "process", "--limit", "2"]
        self.start("prefect-worker", command, self.client)

    def post(self, path: str, body: object) -> object:
        user, password = PASSWORD.split(":")
        limit = time.monotonic() + _BUSY_S
        while True:
            answer = httpx.post(f"{self.api}{path}", json=body, auth=(user, password), timeout=60)
            # A server on SQLite answers so while another one writes.
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > limit:
                return answer.raise_for_status().json()
            time.sleep(1)

    def automate(self, automations: Path) -> None:
        """Make the shipped automations, with a shorter patience."""
        for automation in yaml.safe_load(automations.read_text())["automations"]:
            if automation["trigger"]["posture"] == "Proactive" and "heartbeat" in str(automation["trigger"]["after"]):
                automation["trigger"]["within"] = GHOST_S
                self.post("/automations/", automation)

    def runs_in(self, *states: str) -> list[str]:
        """Return the ids of flow runs in states such as ``RUNNING``."""
        answer = self.post("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": list(states)}}}})
        return [run["id"] for run in answer]


_DASK = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false"}


def wait_for(ready: Callable[[], bool], name: str, limit_s: float = _READY_S) -> None:
    limit = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > limit:
            raise TimeoutError(f"{name} did not come within {limit_s:.0f} s")
        time.sleep(0.1)


def postgres(program: str) -> Path:
    """Return a program of the system's newest PostgreSQL.

    Raises:
        FileNotFoundError: When there is none.
    """
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    if not found:
        raise FileNotFoundError(f"{program} of PostgreSQL is not installed")
    return found[-1]


def _as_postgres() -> list[str]:
    if os.geteuid() != 0:
        return ["/usr/bin/env"]
    return [shutil.which("setpriv") or "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _make_database(world: World, data: Path, as_user: list[str]) -> None:
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(data, "postgres", "postgres")
    world.start("initdb", [*as_user, str(postgres("initdb")), "-D", str(data), "-U", "postgres", "-A", "trust"])
    psutil.Process(world.services.pop("initdb").pid).wait(_READY_S)
