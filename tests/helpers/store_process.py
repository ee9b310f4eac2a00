"""Files over HTTP with ranges, as object stores have them. A process of its own: GDAL reads holding Python's lock."""

import os
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Store(SimpleHTTPRequestHandler):
    """Tells ETags unless a file ``silent`` lies beside the files; notes what it sends in ``../sent``."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body = path.read_bytes()
        asked = self.headers.get("Range", "")
        first, last = 0, len(body) - 1
        if asked.startswith("bytes="):
            start, _, stop = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(stop or last), last)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        if not (path.parent / "silent").exists():
            self.send_header("ETag", f'"{path.stat().st_mtime_ns}-{len(body)}"')
        self.end_headers()
        if self.command == "GET":
            with (path.parent.parent / "sent").open("a") as sent:
                sent.write(f"{path.name} {last - first + 1}\n")
            self.wfile.write(body[first : last + 1])

    do_HEAD = do_GET  # noqa: N815 - a name of the library

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Store, directory=sys.argv[1])) as server:
        os.write(1, f"{server.server_port}\n".encode())
        server.serve_forever()
