"""The Prefect server that a run is told to."""

import httpx
import pytest

from flows.server import require_server, server_failures
from models.errors import SwatheError


def test_without_a_server_named_none_is_needed(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    require_server()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "http://nowhere.invalid/api", "not a url"])
def test_a_server_that_is_not_there_is_an_error_with_its_name(monkeypatch, url):
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(SwatheError, match=r"no Prefect server answers there.*unset PREFECT_API_URL"):
        require_server()


def test_one_that_answers_is_taken_whatever_it_says(monkeypatch, httpserver_url):
    monkeypatch.setenv("PREFECT_API_URL", httpserver_url)
    require_server()


@pytest.fixture
def httpserver_url():
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Locked(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(401)

        def log_message(self, *_):
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Locked) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def test_a_server_of_a_runs_own_that_does_not_come_up_is_named():
    with pytest.raises(SwatheError, match="PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"), server_failures():
        raise RuntimeError("Timed out while attempting to connect to ephemeral Prefect API server.")
    with pytest.raises(RuntimeError, match="another"), server_failures():
        raise RuntimeError("another")


def test_one_that_goes_away_before_a_flow_begins_is_named(monkeypatch):
    from prefect import flow
    from prefect.settings import PREFECT_API_URL, temporary_settings

    gone = "http://127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", gone)
    with (
        temporary_settings({PREFECT_API_URL: gone}),
        pytest.raises(SwatheError, match=r"127\.0\.0\.1:9/api: the Prefect server went away .* run again"),
        server_failures(),
    ):
        flow(lambda: None, name="nothing")()


def test_a_connection_that_breaks_under_way_is_named(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://server/api")
    with pytest.raises(SwatheError, match="http://server/api: the Prefect server went away"), server_failures():
        raise httpx.ConnectError("refused")
