"""The HTTP line to a ComfyUI server: one request at a time, no proxy, no redirect, no Origin header.

A connection lasts for one image, so that any event loop may ask. httpx's exceptions carry the
request with its prompt: they are never a cause of ours.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from imagemill.errors import ProviderMisconfigured, ProviderUnavailable
from imagemill.providers.comfyui import failure

DEFAULT_URL = "http://127.0.0.1:8188"
"""Where ComfyUI listens unless told otherwise."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_TIMEOUTS = httpx.Timeout(60.0, connect=5.0)


class Unanswered(ProviderUnavailable):
    """No whole answer came. `sent` says whether the server may have got the request."""

    sent = False


class Line:
    """An open connection to a server."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401 - httpx's
        """Send one request.

        Raises:
            Unanswered: no whole answer came.
        """
        try:
            return await self._http.request(method, path, **more)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            sent, kind = not isinstance(error, _NOT_SENT), type(error).__name__
        # Outside the handler: httpx's exception must not be the context of ours.
        problem = Unanswered(
            f"ComfyUI did not answer ({kind})." if sent else f"ComfyUI is not reachable ({kind}).",
            remedy=f"Is it running at {self._http.base_url}? IMAGEMILL_COMFYUI_URL or the block's "
            "base_url says where it is looked for.",
        )
        problem.sent = sent
        raise problem

    async def table(self, path: str) -> dict[str, Any]:
        """Return the JSON object at a path.

        Raises:
            Unanswered: nothing came, or an error of the server's own.
            ProviderMisconfigured: what answers is no ComfyUI.
        """
        reply = await self.ask("GET", path)
        if reply.status_code >= 500:
            raise Unanswered(f"ComfyUI answered {reply.status_code}.", remedy="It is tried again.")
        answer = json_of(reply)
        if reply.status_code != 200 or not isinstance(answer, dict):
            raise failure.by_status(reply.status_code)
        return answer


@asynccontextmanager
async def opened(base_url: str) -> AsyncIterator[Line]:
    """Open a connection to a server."""
    verify = _tls() if base_url.startswith("https") else False
    async with httpx.AsyncClient(
        base_url=base_url, timeout=_TIMEOUTS, verify=verify, trust_env=False
    ) as http:
        yield Line(http)


def checked_url(url: str) -> str:
    """Return an address that can be asked; "" is where ComfyUI listens by default.

    Raises:
        ProviderMisconfigured: no http(s) address, or one with a password in it.
    """
    address = url.strip().rstrip("/") or DEFAULT_URL
    with suppress(ValueError):
        parts = urlsplit(address)
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        if plain and "@" not in parts.netloc and not parts.query and not parts.fragment:
            return address
    raise ProviderMisconfigured(
        "The address of ComfyUI is not one that can be asked.",
        remedy=f"Write it as {DEFAULT_URL}, without user, password or query.",
    )


def json_of(reply: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    """Return an answer's JSON, None where it is none."""
    try:
        return reply.json()
    except ValueError:
        return None


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
