"""A TCP proxy that can refuse, dawdle or be gone: stands in front of the store or the provider."""

import asyncio
import threading
from contextlib import suppress
from urllib.parse import urlsplit

FORBIDDEN = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>'
_ANSWER = (
    b"HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(FORBIDDEN), FORBIDDEN)
)


class Proxy:
    """Passes bytes to `target` until told otherwise. Use as a context manager.

    Methods may be called from any thread and hold when they return.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._forbid = False
        self._delay_s = 0.0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def forbid(self, on: bool = True) -> None:
        """Answer every write (PUT, POST) with 403; reading goes on."""
        self._forbid = on

    def slow(self, delay_s: float) -> None:
        """Let every piece of a request wait."""
        self._delay_s = delay_s

    def gone(self) -> None:
        """Break all connections and listen no more."""
        self._do(self._close())

    def back(self) -> None:
        """Listen again, at the same port."""
        self._do(self._open())

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self.back()
        return self

    def __exit__(self, *_: object) -> None:
        self.gone()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _do(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # asyncio reports a connection's task that ends cancelled as an error: this one just ends.
        with suppress(asyncio.CancelledError):
            await self._passed_on(reader, writer)

    async def _passed_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._writers |= ends
        try:
            up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
            ends.add(up_writer)
            self._writers |= ends
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._upwards(reader, up_writer, writer))
                pumps.create_task(self._downwards(up_reader, writer))
        except* OSError:
            writer.transport.abort()
        finally:
            self._writers -= ends
            for each in ends:
                each.close()

    async def _upwards(self, reader, up_writer, writer) -> None:
        while data := await reader.read(1 << 16):
            if self._forbid and data.startswith((b"PUT ", b"POST ")):
                writer.write(_ANSWER)
                await writer.drain()
                with suppress(TimeoutError):
                    async with asyncio.timeout(1):  # its body, or it sees a reset and no answer
                        while await reader.read(1 << 16):
                            pass
                break
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            up_writer.write(data)
            await up_writer.drain()
        up_writer.close()

    async def _downwards(self, reader, writer) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()
