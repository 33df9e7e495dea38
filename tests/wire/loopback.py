"""Raw HTTP on 127.0.0.1 for answers that no honest server gives: bytes as they are, then silence."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Speak = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Loopback:
    """`requests` are the heads of the requests so far; each is answered by `speak`."""

    def __init__(self, speak: Speak) -> None:
        self.requests: list[str] = []
        self.speak = speak
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.decode())
            await self.speak(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client hung up, as many of these tests want
        finally:
            writer.close()


def says(raw: bytes) -> Speak:
    """Answer with `raw` and hang up."""

    async def speak(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return speak


def endless(start: bytes, part: bytes, *, pause_s: float = 0.0) -> Speak:
    """Answer with `start`, then `part` until the client hangs up."""

    async def speak(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return speak


@asynccontextmanager
async def loopback(speak: Speak, tls: ssl.SSLContext | None = None) -> AsyncIterator[Loopback]:
    served = Loopback(speak)
    server = await asyncio.start_server(served.handle, "127.0.0.1", 0, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
