"""A server of files and of a small STAC API: GDAL keeps Python's lock while it opens, so it is a process of its own.

Arguments: the folder to serve, and how /search is asked, POST or GET. The API's items stand in items.json there, what
it was asked goes to asked.jsonl.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

ROOT, POST = Path(sys.argv[1]), sys.argv[2] == "POST"


class Files(BaseHTTPRequestHandler):
    """Serves a folder, whole or by ranges."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = ROOT / urlsplit(self.path).path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content, code = path.read_bytes(), 200
        size = len(content)
        # A store that knows no change: only the catalogue tells.
        headers = {"Accept-Ranges": "bytes", "ETag": '"always"'}
        if (wanted := self.headers.get("Range")) is not None:
            start, _, stop = wanted.removeprefix("bytes=").partition("-")
            content, code = content[int(start) : int(stop or size) + 1], 206
            headers["Content-Range"] = f"bytes {start}-{int(start) + len(content) - 1}/{size}"
        self.send(code, content if body else b"", headers | {"Content-Length": str(len(content))})

    def send(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


class Api(Files):
    """A STAC API: pages of two items, filtered by collection and time alone."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/":
            self._tell(self._landing())
        elif parts.path == "/search":
            self._search({key: values[0] for key, values in parse_qs(parts.query).items()})
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self._search(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _landing(self) -> dict[str, Any]:
        method = {"method": "POST"} if POST else {}
        link = {"rel": "search", "type": "application/geo+json", "href": f"{self._base}/search", **method}
        return {"type": "Catalog", "stac_version": "1.0.0", "id": "api", "description": "", "links": [link]}

    @property
    def _base(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def _search(self, query: dict[str, Any]) -> None:
        with (ROOT / "asked.jsonl").open("a") as file:
            file.write(json.dumps(query) + "\n")
        if not (ROOT / "items.json").exists():
            self.send_error(400)
            return
        items = json.loads((ROOT / "items.json").read_text())
        first, last = str(query["datetime"]).split("/")
        wanted = query.get("collections", [])
        fits = [
            item
            for item in items
            if first <= item["properties"]["datetime"] <= last and (not wanted or item["collection"] in wanted)
        ]
        start = int(query.get("token", 0))
        links = []
        if start + 2 < len(fits):
            href, token = f"{self._base}/search", {"token": start + 2}
            if POST:
                links = [{"rel": "next", "href": href, "method": "POST", "body": token, "merge": True}]
            else:
                given = "&".join(f"{key}={value}" for key, value in (query | token).items())
                links = [{"rel": "next", "href": f"{href}?{given}"}]
        self._tell({"type": "FeatureCollection", "features": fits[start : start + 2], "links": links})

    def _tell(self, facts: dict[str, Any]) -> None:
        content = json.dumps(facts).encode()
        self.send(200, content, {"Content-Type": "application/json", "Content-Length": str(len(content))})


with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
