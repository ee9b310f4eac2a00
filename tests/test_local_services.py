"""Processes that one command starts and another stops: these, and no others."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
import yaml

from flows.local.processes import read_services, start, stop, write_services
from flows.local.up import LocalSettings, down, up
from flows.profiles import apply_profile, profile
from models.errors import SwatheError

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)",
]


def test_what_was_started_is_known_again_and_stopped_with_all_of_its_group(tmp_path):
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP[2]!r}])"
    service = start("nested", [sys.executable, "-c", nested], {}, tmp_path / "logs" / "nested.log")
    write_services(tmp_path / "services.json", [service])
    assert read_services(tmp_path / "services.json") == [service]
    limit = time.monotonic() + 60
    while not (children := psutil.Process(service.pid).children()):
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert service.runs
    assert down(tmp_path) == ["nested"]
    assert not service.runs
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert down(tmp_path) == []


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
        up(LocalSettings(tmp_path, tmp_path, tmp_path), lambda _: None)
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
