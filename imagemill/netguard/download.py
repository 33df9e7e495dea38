"""Getting bytes from an address that somebody else named."""

import asyncio

import httpx

from imagemill.errors import RequestError
from imagemill.netguard.rules import Guard, UrlRefused
from imagemill.netguard.transport import client_for

MAX_REDIRECTS = 3
MAX_FETCH_BYTES = 20_000_000

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


async def fetch(
    url: str,
    guard: Guard,
    *,
    max_bytes: int = MAX_FETCH_BYTES,
    deadline_s: float = 30.0,
    client: httpx.AsyncClient | None = None,
) -> bytes:
    """Get what lies at an address, following at most 3 redirects, each one checked anew.

    Args:
        url: Where. Its content type is not looked at.
        guard: What is allowed.
        max_bytes: Most bytes taken, whatever Content-Length says.
        deadline_s: Longest the whole thing may take, redirects and slow drips included.
        client: A guarded client to use instead of a new one; it stays open.

    Raises:
        UrlRefused: The address, or one it redirects to, is not allowed.
        RequestError: No whole answer of at most `max_bytes` with status 200 came in time.
    """
    host = guard.check_url(url).host
    try:
        async with asyncio.timeout(deadline_s), client_for(guard, client) as used:
            return await _follow(used, url, guard, max_bytes=max_bytes)
    except (TimeoutError, httpx.TimeoutException) as error:
        raise RequestError(
            f"{host} did not give its whole answer within {deadline_s:g} s.",
            remedy="Try again, or give a file.",
        ) from error
    except httpx.HTTPError as error:
        raise RequestError(
            f"{host} could not be read ({type(error).__name__}).",
            remedy="Check that the address answers, or give a file.",
        ) from error


async def _follow(client: httpx.AsyncClient, url: str, guard: Guard, *, max_bytes: int) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        checked = guard.check_url(url)
        async with client.stream("GET", checked.url) as response:
            if response.status_code not in _REDIRECTS:
                return await _body(response, checked.host, max_bytes)
            url = str(response.url.join(response.headers.get("location", "")))
    raise UrlRefused(f"{checked.host} redirects more than {MAX_REDIRECTS} times.")


async def _body(response: httpx.Response, host: str, max_bytes: int) -> bytes:
    if response.status_code != 200:
        raise RequestError(
            f"{host} answered {response.status_code}; expected 200.",
            remedy="Check the address, or give a file.",
        )
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(
            f"{host} sent a compressed answer that was not asked for.", remedy="Give a file."
        )
    too_big = RequestError(
        f"{host} sent more than the {max_bytes} bytes allowed.", remedy="Give a smaller one."
    )
    declared = response.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise too_big
    data = bytearray()
    async for part in response.aiter_raw():
        data += part
        if len(data) > max_bytes:
            raise too_big
    return bytes(data)
