"""How the SDK's client is opened so that it behaves alike everywhere.

The SDK changes with its surroundings: environment variables flip it to Vertex or to another API
version, an importable aiohttp swaps the HTTP library and resends dropped requests, redirects are
followed. Each of these could pay an image twice or break the error mapping, so all are fixed here.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from imagemill.errors import ProviderMisconfigured

if TYPE_CHECKING:
    import httpx2
    from google import genai

GOOGLE_BASE_URL = "https://generativelanguage.googleapis.com/"
DEVELOPER_API_VERSION = "v1"
VERTEX_API_VERSION = "v1beta1"
"""What google-genai 3.4.0 uses when nothing is set; pinned against GOOGLE_GENAI_API_VERSION."""

CONNECT_TIMEOUT_S = 15.0
"""A request that cannot connect was certainly not sent; no need to wait the whole answer time."""


@dataclass(frozen=True)
class Endpoint:
    """Where requests go and as whom."""

    api_key: str = field(default="", repr=False)
    base_url: str = ""
    vertexai: bool = False
    project: str = ""
    location: str = ""
    max_connections: int = 100

    def check(self) -> None:
        """Refuse what no request could be sent with.

        Raises:
            ProviderMisconfigured: names the variable or block field to set.
        """
        if self.vertexai and self.project:
            return
        if not self.api_key.strip():
            field_name = "project or api_key" if self.vertexai else "api_key"
            raise ProviderMisconfigured(
                "There is no Gemini API key.",
                remedy="Set GOOGLE_API_KEY (or GEMINI_API_KEY), or the block's "
                f'{field_name}, or choose provider "sketch", which needs none.',
            )
        if not (self.api_key.strip().isascii() and self.api_key.strip().isprintable()):
            raise ProviderMisconfigured(
                "The Gemini API key holds characters that no key has.",
                remedy="Copy it again from https://aistudio.google.com/api-keys.",
            )

    @property
    def identity(self) -> dict[str, Any]:
        """Keyword arguments that say who asks. A project wins over a key: it is the whole of ADC."""
        if self.vertexai and self.project:
            return {"project": self.project, "location": self.location or "global"}
        return {"api_key": self.api_key.strip()}


@dataclass
class Connection:
    """An open client, with the HTTP pools that it does not close itself."""

    client: "genai.Client"
    pool: "httpx2.AsyncClient"
    sync_pool: "httpx2.Client"

    async def aclose(self) -> None:
        """Close the pools."""
        await self.pool.aclose()
        self.sync_pool.close()


async def _connect_soon(request: "httpx2.Request") -> None:
    """Shorten the connect time-out: the SDK has one number for all phases."""
    timeouts = request.extensions.get("timeout", {})
    connect_s = timeouts.get("connect")
    shorter_s = CONNECT_TIMEOUT_S if connect_s is None else min(connect_s, CONNECT_TIMEOUT_S)
    request.extensions["timeout"] = {**timeouts, "connect": shorter_s}


def opened(endpoint: Endpoint) -> Connection:
    """Open a client at a checked endpoint, and keep it.

    Costs 0.1 s (TLS context) and, the first time, 1 s of imports.
    """
    import httpx2
    from google import genai
    from google.genai import types

    # Both pools are ours: the SDK then neither picks aiohttp nor makes TLS contexts of its own.
    context = httpx2.create_ssl_context()
    limits = httpx2.Limits(
        max_connections=endpoint.max_connections,
        max_keepalive_connections=endpoint.max_connections,
    )
    pool = httpx2.AsyncClient(
        verify=context, limits=limits, event_hooks={"request": [_connect_soon]}
    )
    sync_pool = httpx2.Client(verify=context)
    base_url = endpoint.base_url or (None if endpoint.vertexai else GOOGLE_BASE_URL)
    client = genai.Client(
        vertexai=endpoint.vertexai,
        http_options=types.HttpOptions(
            base_url=base_url,
            api_version=VERTEX_API_VERSION if endpoint.vertexai else DEVELOPER_API_VERSION,
            retry_options=types.HttpRetryOptions(attempts=1),
            httpx_client=sync_pool,
            httpx_async_client=pool,
        ),
        **endpoint.identity,
    )
    return Connection(client=client, pool=pool, sync_pool=sync_pool)
