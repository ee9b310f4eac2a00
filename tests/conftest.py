"""Fixtures that several tests share."""

import atexit
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from threads import end_threads_of_prefect, none_left, shares

# How long an example takes is no law: it depends on what else the machine does.
settings.register_profile("swathe", deadline=None)
settings.load_profile("swathe")

# What the command line sets, before anything imports Prefect.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
# Fakes on small arrays say nothing of this machine's speed to the user whose account runs the tests.
os.environ["SWATHE_CACHE"] = mkdtemp(prefix="swathe-tests-")
atexit.register(shutil.rmtree, os.environ["SWATHE_CACHE"], ignore_errors=True)
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
# The institution's key of whoever runs the tests is neither read nor made.
os.environ["XDG_DATA_HOME"] = mkdtemp(prefix="swathe-tests-data-")
atexit.register(shutil.rmtree, os.environ["XDG_DATA_HOME"], ignore_errors=True)


# They start servers, workers and whole runs, and mostly wait: begun last, they would be waited for alone.
_BEGUN_FIRST = (
    "test_services", "test_week_of_nights", "test_workers", "test_nightly", "test_killed_flow", "test_recovery",
    "test_schedule", "test_going_on", "test_flows", "test_graph", "test_tls", "test_ghosts", "test_remote",
    "test_nnunet",
)  # fmt: skip

# Data that is not committed, and what takes too long for every change.
_MAY_SKIP = re.compile(r"sample data|SWATHE_SAMPLES|\.\./shared|make (services|slow)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is slow to ``make slow``, and put the files that take longest at the beginning."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow and not os.environ.get("SWATHE_TEST_SLOW"):
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]
    places = {name: place for place, name in enumerate(_BEGUN_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where a test was skipped for want of a program, when ``SWATHE_ALL_PROGRAMS`` says that all are there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("SWATHE_ALL_PROGRAMS") or reporter is None:
        return
    reasons = {str(report.longrepr[2]) for report in reporter.stats.get("skipped", ())}
    missing = sorted(reason for reason in reasons if not _MAY_SKIP.search(reason))
    for reason in missing:
        reporter.write_line(f"SKIPPED, and may not be: {reason}", red=True)
    if missing:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="module", autouse=True)
def _no_thread_outlives_its_file(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a file's tests share ends with the file."""
    with none_left(request.node.name):
        yield


@pytest.fixture(autouse=True)
def _no_thread_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test starts ends with the test, unless it shares what it starts with others of its file."""
    with nullcontext() if shares(request) else none_left(request.node.name):
        yield


@pytest.fixture(scope="session")
def _temporary_server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=280):
        end_threads_of_prefect()
        yield
    end_threads_of_prefect()


@pytest.fixture
def prefect_server(_temporary_server: None) -> Iterator[None]:
    """One temporary Prefect server for all flows of the session; a test's own threads end with the test."""
    yield
    end_threads_of_prefect()


@pytest.fixture(params=["plain", "prefect"])
def segment(request: pytest.FixtureRequest) -> Any:
    """Segments a batch: once without a server, and once as a flow on one."""
    if request.param == "plain":
        from flows.batch.segment import segment_batch

        return segment_batch
    request.getfixturevalue("prefect_server")
    from flows.batch.flow import segment_on_server

    return segment_on_server


@pytest.fixture(scope="session")
def _workers_of_the_session() -> Iterator[Any]:
    """One local worker, started with the first test that needs it."""
    from flows.cluster.engine import ClusterSettings, _early, started_early

    def entered() -> Any:
        context.__enter__()
        early = _early.get()
        # Its threads are there before those of a test are looked at.
        early.engine.result()
        return early

    context, apart = started_early(ClusterSettings(workers=1, device="cpu", threads=1)), copy_context()
    yield apart.run(entered)
    apart.run(context.__exit__, None, None, None)


@pytest.fixture
def shared_worker(_workers_of_the_session: Any) -> Iterator[None]:
    """Runs of the test take a worker that other tests have as well, unless they ask for more than one of its kind."""
    from flows.cluster.engine import _early

    token = _early.set(_workers_of_the_session)
    yield
    _early.reset(token)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real scenes and hostile inputs."""
    folder = Path(os.environ.get("SWATHE_SAMPLES", Path(__file__).parents[1] / "../shared/data"))
    if not folder.is_dir():
        pytest.skip("the sample data is not here: set SWATHE_SAMPLES")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser of the system."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"no browser is here: install one of {', '.join(names)}")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        # In containers there is often no user name space for the sandbox; the pages are ours.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def prefect_api() -> Iterator[Any]:
    """Stands for a Prefect server: keeps the events that it was sent, and answers with ``status``."""
    # Not before the variables above are set.
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    from flows.orchestration.current import carried_out_by
    from flows.orchestration.plain import PlainOrchestrator
    from flows.server.prefect_orchestrator import PrefectOrchestrator

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            # A token against forged requests: this server has none.
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if server.status < 400:
                server.events += [SimpleNamespace(**event) for event in body]
            server.asked.append(self.path)
            self.send_response(server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.events, server.asked, server.status = [], [], 204
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/api"
    # Steps are carried out here: this server knows no runs.
    sender = PlainOrchestrator()
    sender.send = PrefectOrchestrator().send
    with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}), carried_out_by(sender):
        yield server
    server.shutdown()
    thread.join()
    server.server_close()
