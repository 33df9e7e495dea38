"""The way to Google that image models and text models share: one client per loop, one language of failure."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from imagemill.catalog import CatalogModel
from imagemill.providers.gemini.connection import Connection, Endpoint, opened
from imagemill.providers.gemini.failure import redacted, translated, unopened

if TYPE_CHECKING:
    from google import genai

GRACE_S = 5.0
"""The outer time-out is this much later than HTTP's own, which says better what happened."""

_Answer = TypeVar("_Answer")


class Line:
    """Opens a client per event loop at first use and keeps it; resends nothing."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.connections: dict[asyncio.AbstractEventLoop, Connection] = {}

    async def guarded(
        self,
        call: Callable[[], Awaitable[_Answer]],
        *,
        model: CatalogModel,
        timeout_s: float,
        prompt_digest: str = "",
    ) -> _Answer:
        """Await one SDK call within its time, and speak of failure in imagemill's words."""
        try:
            async with asyncio.timeout(timeout_s + GRACE_S):
                return await call()
        # Whatever the SDK raises after sending may have been billed: nothing may slip through.
        except Exception as error:
            failure = translated(error, model=model, prompt_digest=prompt_digest)
            cause = redacted(error)
        # Raised outside the handler: `__context__` would carry the server's words along.
        raise failure from cause

    def client(self) -> "genai.Client":
        """Return this loop's client.

        Raises:
            ProviderMisconfigured: no key, or no client can be opened with what is configured.
        """
        loop = asyncio.get_running_loop()
        connection = self.connections.get(loop)
        if connection is None:
            for dead in [known for known in self.connections if known.is_closed()]:
                self.connections.pop(dead, None)
            connection = self.connections[loop] = self._opened()
        return connection.client

    async def aclose(self) -> None:
        """Close this loop's connections; those of other loops go with their loop."""
        connections, self.connections = self.connections, {}
        here = connections.get(asyncio.get_running_loop())
        if here is not None:
            await here.aclose()

    def _opened(self) -> Connection:
        self.endpoint.check()
        try:
            return opened(self.endpoint)
        except Exception as error:  # Google's credentials are looked for here
            failure = unopened(error, vertexai=self.endpoint.vertexai)
            cause = redacted(error)
        raise failure from cause
