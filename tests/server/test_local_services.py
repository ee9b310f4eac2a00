"""Processes that one command starts and another stops: these, and no others."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from inspect import signature

import psutil
import pytest
import yaml
from ports import free_port

from flows.local import up as up_module
from flows.local.ports import TakenPortError, listens
from flows.local.processes import MARK, Service, end, left_behind, read_services, start, stop, write_services
from flows.local.up import LocalSettings, down, up
from flows.server import own
from flows.server.profiles import apply_profile, profile
from models.errors import SwatheError

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)",
]

# What Prefect's worker does with a flow run.
WITH_A_RUN = [
    sys.executable,
    "-c",
    f"import subprocess, time; subprocess.Popen({SLEEP!r}, start_new_session=True); time.sleep(600)",
]
SLOW_TO_END = [
    sys.executable,
    "-c",
    (
        "import signal, sys, time; "
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), print('whole', flush=True), sys.exit())); "
        "print('on', flush=True); time.sleep(600)"
    ),
]

# Answers what `up` starts in the place of this Python: `-P -m prefect server start ... --port PORT` and the others.
STAND_IN = """#!{python}
import http.server, socket, subprocess, sys, time
words = sys.argv[3:]
print(*words[:2], flush=True)
if {dies!r} and " ".join(words).startswith({dies!r}):
    sys.exit("of old age")
if words[:2] == ["prefect", "server"]:
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
    http.server.HTTPServer(("127.0.0.1", int(words[words.index('--port') + 1])), Handler).serve_forever()
if words[:2] == ["dask", "scheduler"]:
    listening = socket.create_server(("127.0.0.1", int(words[words.index("--port") + 1])))
if words[:2] == ["dask", "worker"]:
    socket.create_connection(("127.0.0.1", int(words[2].rpartition(":")[2])), 5).close()
time.sleep(600)
"""


@pytest.fixture
def settings(tmp_path) -> LocalSettings:
    return LocalSettings(home=tmp_path / "home", data=tmp_path, out=tmp_path, port=free_port(2))


@pytest.fixture
def stand_in(tmp_path, settings, monkeypatch):
    """Start small programs instead of Prefect and Dask; one of them may die as soon as it is started."""

    def prepare(dies: str = "") -> None:
        program = tmp_path / "python"
        program.write_text(STAND_IN.format(python=sys.executable, dies=dies))
        program.chmod(0o755)
        monkeypatch.setattr(up_module.sys, "executable", str(program))
        monkeypatch.setattr(up_module, "deploy", lambda _: None)
        monkeypatch.setattr(up_module, "is_online", lambda *_: not dies or one_ended())

    def one_ended() -> bool:
        return not all(service.runs for service in read_services(settings.services))

    return prepare


@pytest.fixture(params=[0, 1], ids=["server", "scheduler"])
def taken(request, settings) -> Iterator[int]:
    """Whatever listens at a port that is needed."""
    with socket.create_server(("127.0.0.1", settings.port + request.param)):
        yield settings.port + request.param


def test_everything_runs_when_it_is_up_each_begun_when_the_one_before_answers(settings, stand_in):
    stand_in()
    told: list[str] = []
    try:
        up(settings, told.append)
        names = [service.name for service in read_services(settings.services) if service.runs]
    finally:
        down(settings.home)
    assert names == ["server", "scheduler", "cpu-worker-0", "worker"]
    assert [line.partition(":")[0] for line in told] == names
    assert not listens(settings.port)


# What is started has the socket itself, by its number.
_LISTENS = "import socket, time; print(socket.socket(fileno={number}).getsockname()[1], flush=True); time.sleep(600)"


@pytest.mark.parametrize(
    ("dies", "name"),
    [
        ("prefect server", "server"),
        ("dask scheduler", "scheduler"),
        ("dask worker", "cpu-worker-0"),
        ("prefect worker", "worker"),
    ],
)
def test_a_service_that_died_is_named_with_its_log_and_all_others_are_stopped(settings, stand_in, dies, name):
    stand_in(dies)
    with pytest.raises(SwatheError, match=rf"^{name} did not come up: it ended\. .*of old age\. .*/logs/{name}\.log$"):
        up(settings, lambda _: None)
    assert "of old age" in (settings.home / "logs" / f"{name}.log").read_text()
    assert not settings.services.exists()
    assert not alive(left_behind(settings.home, []))
    assert not listens(settings.port)
    assert not listens(settings.port + 1)


def test_nothing_is_started_where_something_else_has_a_port(settings, stand_in, taken):
    stand_in()
    with pytest.raises(TakenPortError, match=rf"port {taken} .*swathe up --port \d+"):
        up(settings, lambda _: None)
    assert not settings.home.exists()


def test_what_answers_in_the_place_of_a_dead_service_is_not_taken_for_it(settings):
    dead = start("server", SLEEP, {}, settings.home / "logs" / "server.log")
    stop(dead)
    with pytest.raises(SwatheError, match="server did not come up: it ended"):
        up_module._wait(lambda: True, dead, settings, tell=lambda _: None)


def test_a_service_is_waited_for_as_long_as_is_asked_and_what_it_says_is_told_meanwhile(settings, monkeypatch):
    monkeypatch.setattr(up_module, "_TOLD_EVERY_S", 0.0)
    log, told = settings.home / "logs" / "server.log", []
    slow = start("server", SLEEP, {}, log)
    try:
        log.write_text("making the database\n\n ----\n")
        with pytest.raises(SwatheError, match=r"it is not up after 1 s\. .*making the database"):
            up_module._wait(lambda: False, slow, replace(settings, wait_s=1.0), tell=told.append)
    finally:
        stop(slow)
    assert told
    assert all("server: not up after" in line and "making the database" in line for line in told)


def test_a_port_of_an_own_server_is_nobody_elses_from_the_beginning(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setattr(own, "_command", lambda number: [*SLEEP[:2], _LISTENS.format(number=number)])
    with own.own_server() as server:
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", server.port))
        while not (said := server.log.read_text()):
            assert server.process.poll() is None
        assert said.strip() == str(server.port)


def test_what_was_started_is_known_again_and_stopped_with_all_of_its_group(tmp_path):
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP[2]!r}])"
    service = start("nested", [sys.executable, "-c", nested], {}, tmp_path / "logs" / "nested.log")
    write_services(tmp_path / "services.json", [service])
    assert read_services(tmp_path / "services.json") == [service]
    children = begun_by(service)
    assert service.runs
    assert down(tmp_path) == ["nested"]
    assert not service.runs
    psutil.wait_procs(children, timeout=10)
    assert not alive(children)
    assert down(tmp_path) == []


def begun_by(service: Service) -> list[psutil.Process]:
    limit = time.monotonic() + 60
    while not (children := psutil.Process(service.pid).children()):
        assert time.monotonic() < limit
        time.sleep(0.05)
    return children


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run, a moment after they were killed."""
    return psutil.wait_procs([process for process in processes if not is_zombie(process)], timeout=5)[1]


def is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_what_a_service_started_in_a_session_of_its_own_ends_with_it(tmp_path):
    service = start("worker", WITH_A_RUN, {}, tmp_path / "worker.log")
    runs = begun_by(service)
    stop(service)
    assert not service.runs
    assert not alive(runs)


def test_runs_that_a_dead_worker_left_behind_are_stopped_and_those_of_another_home_are_not(tmp_path):
    homes = [tmp_path / name for name in ("mine", "other")]
    services = [start("worker", WITH_A_RUN, {MARK: str(home)}, home / "worker.log") for home in homes]
    (mine,), (other,) = map(begun_by, services)
    try:
        for home, service in zip(homes, services, strict=True):
            write_services(home / "services.json", [service])
            psutil.Process(service.pid).kill()
            psutil.Process(service.pid).wait(60)
        assert down(homes[0]) == ["what dead ones had left behind"]
        assert not alive([mine])
        assert other.is_running()
        assert down(homes[0]) == []
    finally:
        end([mine, other])


def test_a_worker_has_the_time_that_its_runs_are_given_to_end(tmp_path, monkeypatch):
    from prefect.runner._process_manager import ProcessManager

    monkeypatch.setattr("flows.local.processes._STOPPING_S", 0.1)
    service = start("worker", SLOW_TO_END, {}, log := tmp_path / "worker.log")
    write_services(tmp_path / "services.json", [service])
    limit = time.monotonic() + 60
    while "on" not in log.read_text():
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert down(tmp_path) == ["worker"]
    assert "whole" in log.read_text()
    assert signature(ProcessManager.kill).parameters["grace_seconds"].default < up_module._RUNS_END_S


def test_a_process_that_ignores_the_request_is_ended_by_force(tmp_path, monkeypatch):
    monkeypatch.setattr("flows.local.processes._STOPPING_S", 0.5)
    log = tmp_path / "stubborn.log"
    service = start("stubborn", STUBBORN, {}, log)
    limit = time.monotonic() + 60
    while "on" not in log.read_text():
        assert time.monotonic() < limit
        time.sleep(0.05)
    stop(service)
    psutil.wait_procs([psutil.Process(service.pid)] if psutil.pid_exists(service.pid) else [], timeout=10)
    assert not service.runs


def test_a_later_process_with_the_same_number_is_left_alone(tmp_path):
    with subprocess.Popen(SLEEP) as other:
        service = start("mine", SLEEP, {}, tmp_path / "mine.log")
        stranger = replace(service, pid=other.pid, created=f"{service.created}0")
        ran = stranger.runs
        stop(stranger)
        survived = other.poll() is None
        stop(service)
        other.kill()
    assert not ran
    assert survived


def test_a_service_that_an_earlier_version_started_is_known_and_stopped(tmp_path):
    service = start("mine", SLEEP, {}, tmp_path / "mine.log")
    write_services(tmp_path / "services.json", [replace(service, created=psutil.Process(service.pid).create_time())])
    assert down(tmp_path) == ["mine"]
    assert not service.runs


def test_what_runs_is_not_started_twice(tmp_path):
    service = start("server", SLEEP, {}, tmp_path / "server.log")
    write_services(tmp_path / "services.json", [service])
    with pytest.raises(SwatheError, match="swathe down"):
        up(LocalSettings(home=tmp_path, data=tmp_path, out=tmp_path), lambda _: None)
    assert service.runs
    stop(service)


def test_the_profile_holds_what_prefect_knows_and_gives_way_to_what_is_set():
    environment = {"PREFECT_CLIENT_MAX_RETRIES": "3"}
    apply_profile("client", environment)
    assert environment["PREFECT_CLIENT_MAX_RETRIES"] == "3"
    assert environment["DO_NOT_TRACK"] == "1"
    from prefect.settings import Settings

    # Keys of its logging file are no settings of Prefect's model.
    known = {*Settings().to_environment_variables(exclude_unset=False), "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"}
    for name in ("client", "server"):
        assert {key for key in profile(name) if key.startswith("PREFECT_")} <= known


def test_every_deployment_names_a_flow_of_an_installed_module():
    from importlib import import_module
    from importlib.resources import files

    from prefect import Flow

    described = yaml.safe_load(files("flows").joinpath("prefect.yaml").read_text())
    for deployment in described["deployments"]:
        module, name = deployment["entrypoint"].rsplit(".", 1)
        flow = getattr(import_module(module), name)
        assert isinstance(flow, Flow)
        assert deployment.get("parameters", {}).keys() <= flow.parameters.properties.keys()
