"""An httpx transport that resolves once, checks, and connects to the very address it checked."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import httpcore
import httpx

from imagemill.netguard.rules import Guard, literal_address

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From host and port to IP addresses as text."""


async def resolve_host(host: str, port: int) -> list[str]:
    """Ask the system's resolver. The default `Resolve`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves once, checks, and connects to what was checked."""

    def __init__(self, guard: Guard, resolve: Resolve) -> None:
        self._guard = guard
        self._resolve = resolve
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        end = loop.time() + (timeout if timeout is not None else 60.0)
        addresses = await self._addresses(host, port, end - loop.time())
        for left in range(len(addresses), 0, -1):
            try:
                return await self._inner.connect_tcp(
                    addresses[-left],
                    port,
                    timeout=max((end - loop.time()) / left, 0.001),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
        raise AssertionError("check_addresses lets no empty list through")  # pragma: no cover

    async def _addresses(self, host: str, port: int, timeout_s: float) -> Sequence[str]:
        name = host.lower().removesuffix(".")
        literal = literal_address(name)
        try:
            async with asyncio.timeout(timeout_s):
                addresses = [str(literal)] if literal else await self._resolve(name, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{name} could not be resolved.") from error
        self._guard.check_addresses(str(literal or name), port, addresses)
        return addresses


class _GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport over a pool whose every connection passes the guard."""

    def __init__(self, guard: Guard, resolve: Resolve, tls: ssl.SSLContext) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._guard = guard
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=20,
            keepalive_expiry=5.0,
            network_backend=_GuardedBackend(guard, resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._guard.check_url(str(request.url))
        return await super().handle_async_request(request)


def guarded_transport(
    guard: Guard, *, resolve: Resolve = resolve_host, tls: ssl.SSLContext | None = None
) -> httpx.AsyncBaseTransport:
    """Return an httpx transport that connects only where `guard` allows.

    Args:
        guard: What is allowed.
        resolve: Called once for each new connection.
        tls: Other trust roots than certifi's; for tests and private authorities.
    """
    return _GuardedTransport(guard, resolve, tls or httpx.create_ssl_context(trust_env=False))


def guarded_client(
    guard: Guard,
    *,
    timeout_s: float = 15.0,
    resolve: Resolve = resolve_host,
    tls: ssl.SSLContext | None = None,
) -> httpx.AsyncClient:
    """Return an httpx client that connects only where `guard` allows.

    It follows no redirects, and ignores proxies and everything else in the environment.
    """
    return httpx.AsyncClient(
        transport=guarded_transport(guard, resolve=resolve, tls=tls),
        timeout=timeout_s,
        trust_env=False,
        follow_redirects=False,
        headers={"User-Agent": "imagemill", "Accept-Encoding": "identity"},
    )


@asynccontextmanager
async def client_for(
    guard: Guard, client: httpx.AsyncClient | None, *, timeout_s: float = 15.0
) -> AsyncIterator[httpx.AsyncClient]:
    """Lend the caller's client, which stays open, or one that is closed afterwards."""
    if client is not None:
        yield client
        return
    async with guarded_client(guard, timeout_s=timeout_s) as made:
        yield made
