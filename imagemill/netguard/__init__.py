"""Where imagemill may connect on somebody else's word: webhook addresses and reference images.

A name is resolved once; every address it has must be public; and the connection goes to that very
address, while TLS and the Host header keep the name. So a name that answers differently the second
time (rebinding) gains nothing. May import httpx and its httpcore, nothing else.
"""

from imagemill.netguard.download import MAX_FETCH_BYTES, MAX_REDIRECTS, fetch
from imagemill.netguard.rules import CheckedUrl, Guard, UrlRefused, is_public
from imagemill.netguard.transport import (
    Resolve,
    client_for,
    guarded_client,
    guarded_transport,
    resolve_host,
)

__all__ = [
    "MAX_FETCH_BYTES",
    "MAX_REDIRECTS",
    "CheckedUrl",
    "Guard",
    "Resolve",
    "UrlRefused",
    "client_for",
    "fetch",
    "guarded_client",
    "guarded_transport",
    "is_public",
    "resolve_host",
]
