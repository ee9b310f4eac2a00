"""``swathe up`` and ``swathe down``: server, worker and cluster on this machine."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from flows.local.ports import listens, require_free
from flows.local.processes import MARK, Service, end, left_behind, read_services, start, stop, write_services
from flows.server.deploy import POOL, Target, deploy, places
from flows.server.own import last_words
from flows.server.profiles import new_password, profile
from flows.server.reached import listens_itself
from models.errors import SwatheError
from tasks.files.durable import replace_file
from tasks.files.private import private_file, private_folder, read_private
from tasks.files.safe_path import SAFE

SERVICES = "services.json"
_HERE = "127.0.0.1"
# How often it is said what is waited for: the first start makes the database, which takes minutes on a busy machine.
_TOLD_EVERY_S = 15.0
_TRYING_S = 5.0
_ADDRESS = "address"
_WORKER = "worker"
# Prefect's worker gives its runs 30 s to end before it ends them by force, and then ends itself.
_RUNS_END_S = 45.0


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """What is started, and where it keeps its files.

    Attributes:
        home: Database, logs, password, and what runs.
        data: Folder of the inputs.
        out: Folder of the products.
        port: Of the Prefect server, on this machine only; the Dask scheduler has the one after it.
        workers: Dask workers, each with one ``CPU``.
        runs: How many flow runs at a time, beside those of the queue ``gpu``; one of them is kept for urgent ones.
        database: Of the server; SQLite in ``home`` where left out.
        wait_s: How long each service may take to come up; None for as long as it runs.
    """

    home: Path
    data: Path
    out: Path
    port: int = 4200
    workers: int = 1
    runs: int = 3
    database: str | None = None
    wait_s: float | None = None

    @property
    def api(self) -> str:
        """Address of the server."""
        return f"http://{_HERE}:{self.port}/api"

    @property
    def cluster(self) -> str:
        """Address of the Dask scheduler, which asks for the certificate of ``dask_settings``."""
        return f"tls://{_HERE}:{self.port + 1}"

    @property
    def dask_settings(self) -> Path:
        """What ``DASK_CONFIG`` has to name where a program is to reach the scheduler; certificates lie beside it."""
        return self.home / "certificates" / "dask.yaml"

    @property
    def services(self) -> Path:
        """Remembers what runs."""
        return self.home / SERVICES


def up(settings: LocalSettings, tell: Callable[[str], None]) -> None:
    """Start everything, one after the other, each when the one before answers; at the end all of it has to run.

    Args:
        settings: What to start.
        tell: Gets a line per step.

    Raises:
        TakenPortError: When something else has a port that is needed; nothing is started.
        SwatheError: When something runs already, or does not come up; what was started is stopped again.
    """
    if any(service.runs for service in read_services(settings.services)):
        raise SwatheError(f"{settings.home}: its services run already. Stop them with: swathe down")
    require_free({settings.port: "the Prefect server", settings.port + 1: "the Dask scheduler"})
    started: list[Service] = []

    def begin(name: str, command: list[str], environment: Mapping[str, str]) -> None:
        marked = {**environment, MARK: str(settings.home)}
        started.append(start(name, command, marked, settings.home / "logs" / f"{name}.log"))
        write_services(settings.services, started)
        tell(f"{name}: process {started[-1].pid}")

    try:
        _start_all(settings, begin, started, tell)
    except BaseException:
        _stop_all(settings.home, started)
        raise


def _start_all(
    settings: LocalSettings,
    begin: Callable[[str, list[str], Mapping[str, str]], None],
    started: list[Service],
    tell: Callable[[str], None],
) -> None:
    _make_home(settings)
    client = client_environment(settings)
    python = [sys.executable, SAFE, "-m"]
    prefect, dask = [*python, "prefect"], [*python, "dask"]
    begin("server", [*prefect, "server", "start", "--host", _HERE, "--port", str(settings.port)],
          _server_environment(settings))  # fmt: skip
    server = started[-1]
    # Nobody else's server on that port may be told the password.
    _wait(lambda: _answers(settings.api) and listens_itself(server.pid, settings.port), server, settings, tell)
    replace_file(settings.home / _ADDRESS, settings.api.encode())
    deploy(Target(api=settings.api, auth=_password(settings.home), runs=settings.runs, environment=client))
    port = str(settings.port + 1)
    secured = {**_DASK, "DASK_CONFIG": str(settings.dask_settings)}
    here = ["--host", _HERE, "--protocol", "tls", "--dashboard-address", f"{_HERE}:0", "--no-dashboard"]
    begin("scheduler", [*dask, "scheduler", "--port", port, *here], secured)
    _wait(lambda: listens(settings.port + 1), started[-1], settings, tell)
    worker = [*dask, "worker", settings.cluster, "--nthreads", "3", "--resources", "CPU=1", "--memory-limit", "0",
              *here, "--local-directory", str(settings.home / "dask")]  # fmt: skip
    for number in range(settings.workers):
        begin(f"cpu-worker-{number}", worker, secured)
    name = f"local-{secrets.token_hex(4)}"
    begin(_WORKER, [*prefect, "worker", "start", "--pool", POOL, "--type", "process", "--name", name,
                    "--limit", str(places(settings.runs))], client)  # fmt: skip
    _wait(lambda: is_online(settings.api, client["PREFECT_API_AUTH_STRING"], name), started[-1], settings, tell)
    for service in started:
        # Among them are those that nobody waited for, such as Dask workers.
        if not service.runs:
            raise _did_not_come_up(service, settings)


def down(home: Path) -> list[str]:
    """Stop what ``up`` started, the last one first, with all that these started, and nothing else.

    Returns:
        Names of the services that ran, and last whether there was something that dead ones had left behind.
    """
    services = read_services(home / SERVICES)
    running = [service.name for service in services if service.runs]
    left = _stop_all(home, services)
    return [*running, "what dead ones had left behind"] if left else running


def left_running(home: Path) -> dict[str, str] | None:
    """Return what a program needs to reach the server that ``up`` left running; None where none runs."""
    address = home / _ADDRESS
    if not address.exists() or not any(one.name == "server" and one.runs for one in read_services(home / SERVICES)):
        return None
    return {"PREFECT_API_URL": address.read_text().strip(), "PREFECT_API_AUTH_STRING": _password(home)}


def _make_home(settings: LocalSettings) -> None:
    from flows.cluster.certificates import write_certificates

    # The folder itself may be one of the user's own; what stands in these is nobody else's business: parameters of
    # runs, names of scenes, keys.
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("logs", "prefect", "dask"):
        private_folder(settings.home / name)
    write_certificates(settings.dask_settings)


def client_environment(settings: LocalSettings) -> dict[str, str]:
    """Return what a program needs to reach the server, the password among it, and the scheduler."""
    return {
        **profile("client"),
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_API_URL": settings.api,
        "PREFECT_API_AUTH_STRING": _password(settings.home),
        "SWATHE_DATA": str(settings.data),
        "SWATHE_OUT": str(settings.out),
        "SWATHE_CLUSTER": settings.cluster,
        "DASK_CONFIG": str(settings.dask_settings),
    }


def _server_environment(settings: LocalSettings) -> dict[str, str]:
    database = {} if settings.database is None else {"PREFECT_SERVER_DATABASE_CONNECTION_URL": settings.database}
    return {
        **profile("server"),
        **database,
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_SERVER_API_AUTH_STRING": _password(settings.home),
        "PREFECT_SERVER_UI_API_URL": settings.api,
    }


# A block that was lost with its worker is run again by us, alone, before it is blamed. Dask's profiler keeps the call
# trees of every second of an hour, in each worker.
_DASK = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false",
    # Pages that they would show to whoever asks.
    "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES": "[]",
    "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]",
}


def password_file(home: Path) -> Path:
    """Return where user and password of the server stand."""
    return home / "password"


def _password(home: Path) -> str:
    path = password_file(home)
    if not os.path.lexists(path):
        private_file(path, new_password())
    return read_private(path).strip()


def _answers(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=_TRYING_S).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def is_online(api: str, auth: str, name: str) -> bool:
    """Tell whether a Prefect worker has told the server that it is there.

    Args:
        api: Address of the server.
        auth: ``user:password``.
        name: Of the worker.
    """
    user, _, password = auth.partition(":")
    try:
        answer = httpx.post(
            f"{api}/work_pools/{POOL}/workers/filter", json={}, auth=(user, password), timeout=_TRYING_S
        )
    except httpx.TransportError:
        return False
    return answer.is_success and any(worker["name"] == name for worker in answer.json())


def _wait(ready: Callable[[], bool], service: Service, settings: LocalSettings, tell: Callable[[str], None]) -> None:
    begin = told = time.monotonic()
    # Whether it runs comes first: something else may answer in its place.
    while not (service.runs and ready()):
        waited_s = time.monotonic() - begin
        if not service.runs or (settings.wait_s is not None and waited_s > settings.wait_s):
            raise _did_not_come_up(service, settings)
        if time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            said = last_words(_log(service, settings))
            tell(f"{service.name}: not up after {waited_s:.0f} s; its log says: {said or 'nothing yet'}")
        time.sleep(0.2)


def _did_not_come_up(service: Service, settings: LocalSettings) -> SwatheError:
    log = _log(service, settings)
    how = f"is not up after {settings.wait_s:.0f} s" if service.runs and settings.wait_s is not None else "ended"
    return SwatheError(
        f"{service.name} did not come up: it {how}. The last words of its log are: {last_words(log) or 'none'}. "
        f"All of them: {log}"
    )


def _log(service: Service, settings: LocalSettings) -> Path:
    return settings.home / "logs" / f"{service.name}.log"


def _stop_all(home: Path, services: list[Service]) -> bool:
    """Runs go first, while the server is there to be told; return whether some had no worker any more."""
    for service in services:
        if service.name == _WORKER:
            stop(service, _RUNS_END_S)
    left = left_behind(home, services)
    end(left, _RUNS_END_S)
    for service in reversed(services):
        stop(service)
    # What was started while the others ended.
    end(left_behind(home, services))
    (home / SERVICES).unlink(missing_ok=True)
    return bool(left)
