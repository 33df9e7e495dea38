"""The least HTTP/1.1 that a real client is content with, on bare asyncio: fast, and it can break.

Knows content-length bodies, keep-alive and three ways to misbehave: drop, cut, stall.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Reply:
    """`drop` closes without a byte, `cut` after that share of the body (0 to 1).

    `sent` is called when the reply went out to a client that was still there.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    cut: float = 1.0
    sent: Callable[[], None] | None = None


Handler = Callable[[Request], Awaitable[Reply]]


class _Connection(asyncio.Protocol):
    def __init__(self, server: "HttpServer") -> None:
        self._server = server
        self._buffer = bytearray()
        self._busy = False
        self._request: Request | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc) -> None:
        self._server.connections.discard(self)
        if self._request:
            self._request.gone.set()

    def close(self) -> None:
        self._transport.abort()
        if self._task:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def _next(self) -> None:
        if self._busy or (end := self._buffer.find(b"\r\n\r\n")) < 0:
            return
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        if len(self._buffer) < end + 4 + length:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        method, path, _ = first.split(" ", 2)
        self._busy = True
        self._request = Request(method, path, headers, body)
        self._task = asyncio.get_running_loop().create_task(self._serve(self._request))

    async def _serve(self, request: Request) -> None:
        reply = await self._server.handler(request)
        self._busy = False
        if reply.drop or self._transport.is_closing():
            self._transport.abort()
            return
        if reply.sent:
            reply.sent()
        head = [
            f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
            *([f"content-type: {reply.content_type}"] if reply.content_type else []),
            f"content-length: {len(reply.body)}",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]
        kept = reply.body[: int(len(reply.body) * reply.cut)]
        self._transport.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + kept)
        if reply.cut < 1:
            self._transport.close()
        else:
            self._next()


class HttpServer:
    """Serves `handler` on 127.0.0.1, in this loop (`serve`) or in a thread of its own (`start`)."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.connections: set[_Connection] = set()
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None

    async def serve(
        self, *, host: str = "127.0.0.1", port: int = 0, announce: Callable[[str], None] = print
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), host, port, backlog=2048)
        self.url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
        announce(self.url)
        try:
            await self._end.wait()
        finally:
            server.close()
            for connection in list(self.connections):
                connection.close()

    def start(self) -> str:
        def run() -> None:
            asyncio.run(self.serve(announce=lambda _: self._ready.set()))

        self._thread = threading.Thread(target=run, name="fake-server", daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the fake server did not start")
        return self.url

    def stop(self) -> None:
        if self._loop and self._thread:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(10)
