"""A small, weak S3 over HTTP: it keeps objects, checks no signature and ignores If-None-Match.

`script` holds answers to give instead: `("PUT", 503, "SlowDown")`, taken one a matching request.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

KEPT = ("Content-Type", "Cache-Control", "x-amz-meta-sha256")


class FakeS3(ThreadingHTTPServer):
    """`objects` maps `/bucket/key` to headers and bytes; `requests` is the list of verbs seen."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[dict[str, str], bytes]] = {}
        self.script: list[tuple[str, int, str]] = []
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeS3

    def _answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        given = headers or {}
        for name, value in {"Content-Length": str(len(body)), **given}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        path = unquote(url.path)
        with self.server.lock:
            self.server.requests.append(self.command)
            for line in self.server.script:
                if line[0] == self.command:
                    self.server.script.remove(line)
                    return self._answer(line[1], f"<Error><Code>{line[2]}</Code></Error>".encode())
            return self._obey(path, parse_qs(url.query), body)

    def _obey(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        objects = self.server.objects
        if "list-type" in query:
            return self._answer(200, _listing(objects, path + "/", query.get("prefix", [""])[0]))
        if self.command == "PUT":
            objects[path] = ({n: self.headers[n] for n in KEPT if self.headers[n]}, body)
            return self._answer(200)
        if self.command == "DELETE":
            objects.pop(path, None)
            return self._answer(204)
        if path not in objects:
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        headers, data = objects[path]
        return self._answer(200, data, headers | {"Last-Modified": formatdate(0, usegmt=True)})

    do_GET = do_HEAD = do_PUT = do_DELETE = _serve  # noqa: N815 - the base class looks for these

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def _listing(objects: dict, bucket: str, prefix: str) -> bytes:
    lines = "".join(
        f"<Contents><Key>{path.removeprefix(bucket)}</Key><Size>{len(data)}</Size>"
        "<LastModified>2026-11-21T00:00:00Z</LastModified></Contents>"
        for path, (_, data) in sorted(objects.items())
        if path.startswith(bucket + prefix)
    )
    return f"<ListBucketResult>{lines}</ListBucketResult>".encode()


@contextmanager
def fake_s3() -> Iterator[FakeS3]:
    """Yield a server that listens on a free port."""
    server = FakeS3()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
