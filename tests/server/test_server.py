"""The Prefect server that a run is told to."""

import httpx
import pytest

from flows.commands.foreign_errors import named_error
from flows.server.reached import require_server
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


def test_one_that_goes_away_before_a_flow_begins_is_named(monkeypatch):
    from prefect import flow
    from prefect.settings import PREFECT_API_URL, temporary_settings

    gone = "http://127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", gone)
    with temporary_settings({PREFECT_API_URL: gone}), pytest.raises(RuntimeError) as found:
        flow(lambda: None, name="nothing")()
    assert "127.0.0.1:9/api: the Prefect server went away" in str(named_error(found.value))


def test_a_connection_that_breaks_under_way_is_named(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://server/api")
    found = named_error(httpx.ConnectError("refused"))
    assert isinstance(found, SwatheError)
    assert str(found).startswith("http://server/api: the Prefect server went away")


def test_an_error_that_users_can_do_nothing_about_keeps_its_name():
    assert named_error(RuntimeError("another")) is None
