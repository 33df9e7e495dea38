"""The re-signing gateway: short addresses that stay good, for artifacts whose URLs expire.

`/a/<digest>.png` and `/r/<run>/<name>` are the only things it knows. Both are checked by pattern
alone, so no other key of the bucket can be reached through it. It needs no ledger and no Prefect.
"""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import NoReturn

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from blocks.store import load_store
from imagemill.artifact import SUFFIX_BY_MEDIA_TYPE, digest_of, object_key
from imagemill.errors import ArtifactError, ImagemillError, StoreUnavailable
from imagemill.store.s3 import S3Store

__all__ = ["create_app", "default_app"]

logger = logging.getLogger(__name__)

StoreLoader = Callable[[], Awaitable[S3Store]]

REDIRECT_TTL_S = 300
"""A redirect is followed at once; five minutes let a page's many images load over a slow line."""

_MEDIA_TYPE_BY_SUFFIX = {suffix[1:]: media for media, suffix in SUFFIX_BY_MEDIA_TYPE.items()}
_SUFFIX = "|".join(_MEDIA_TYPE_BY_SUFFIX)
_ARTIFACT = re.compile(rf"(?P<digest>[0-9a-f]{{64}})\.(?P<suffix>{_SUFFIX})")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,99}}\.(?P<suffix>{_SUFFIX})")

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>imagemill gateway</title>
<body style="font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem">
<h1>imagemill gateway</h1><p>Short addresses for artifacts. Each view gets a fresh link.</p>
<ul><li><code>/a/&lt;digest&gt;.png</code>: an image by its sha256 digest</li>
<li><code>/r/&lt;run&gt;/manifest.json</code>, <code>gallery.html</code>,
<code>contact-sheet.png</code>: what a run wrote</li>
<li><code>?inline=1</code>: the bytes themselves instead of a redirect</li></ul></body></html>"""


router = APIRouter()


def create_app(store_loader: StoreLoader) -> FastAPI:
    """Return the gateway as an ASGI app.

    Args:
        store_loader: Asked at every view, so that a changed block is noticed; must be cheap.
    """
    app = FastAPI(title="imagemill gateway", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.store_loader = store_loader
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ImagemillError, _on_error)
    app.include_router(router)
    return app


def default_app() -> FastAPI:
    """Return the gateway over the default store: `uvicorn --factory apps.gateway:default_app`."""
    return create_app(load_store)


@router.get("/", response_class=HTMLResponse)
async def index() -> str:
    """Say what this is."""
    return _PAGE


@router.get("/healthz")
async def health() -> dict[str, str]:
    """Answer while this process lives; whether the store does is the store's own check."""
    return {"status": "ok"}


@router.api_route("/a/{name}", methods=["GET", "HEAD"])
async def artifact(request: Request, name: str, inline: str = "") -> Response:
    """Lead to an artifact by its digest, or send its bytes, which never change."""
    match = _ARTIFACT.fullmatch(name) or _not_found()
    digest, media_type = match["digest"], _MEDIA_TYPE_BY_SUFFIX[match["suffix"]]
    key = object_key(digest, media_type)
    if not _yes(inline):
        return await _redirect(request, key)
    headers = {"ETag": f'"{digest}"', "Cache-Control": "public, max-age=31536000, immutable"}
    if _has_already(request, digest):
        return Response(status_code=304, headers=headers)
    data = await _bytes(request, key)
    if digest_of(data) != digest:
        raise ArtifactError(f"{key} holds bytes that are not what its digest says.")
    return _inline(data, media_type, headers)


@router.api_route("/r/{run_id}/{name}", methods=["GET", "HEAD"])
async def run_object(request: Request, run_id: str, name: str, inline: str = "") -> Response:
    """Lead to what a run wrote under a name, or send its bytes, which may yet change."""
    match = (_RUN.fullmatch(run_id) and _NAME.fullmatch(name)) or _not_found()
    key = f"runs/{run_id}/{name}"
    if not _yes(inline):
        return await _redirect(request, key)
    data = await _bytes(request, key)
    digest = digest_of(data)
    headers = {"ETag": f'"{digest}"', "Cache-Control": "no-cache"}
    if _has_already(request, digest):
        return Response(status_code=304, headers=headers)
    return _inline(data, _MEDIA_TYPE_BY_SUFFIX[match["suffix"]], headers)


async def _found(request: Request, key: str) -> S3Store:
    """Return the store that holds `key`; 404 when it does not."""
    store: S3Store = await request.app.state.store_loader()
    if not await store.exists_named(key):
        _not_found()
    return store


async def _redirect(request: Request, key: str) -> Response:
    url = (await _found(request, key)).presigned_url(key, ttl_s=REDIRECT_TTL_S)
    return RedirectResponse(url, status_code=302, headers={"Cache-Control": "no-store"})


async def _bytes(request: Request, key: str) -> bytes:
    return await (await _found(request, key)).get_named(key)


def _inline(data: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """Return the bytes; a page among them gets no say over this origin."""
    safety = {"X-Content-Type-Options": "nosniff"}
    if media_type == "text/html":
        safety["Content-Security-Policy"] = "sandbox allow-scripts allow-popups"
    return Response(data, media_type=media_type, headers=headers | safety)


def _has_already(request: Request, digest: str) -> bool:
    """Tell whether the caller has these bytes (RFC 9110, 13.1.2; weak comparison)."""
    tags = request.headers.get("if-none-match", "").split(",")
    return any(tag.strip().removeprefix("W/") == f'"{digest}"' for tag in tags)


def _yes(flag: str) -> bool:
    return flag.lower() not in {"", "0", "false", "no"}


def _not_found() -> NoReturn:
    raise HTTPException(404, "There is no such artifact here.")


def _problem(status: int, title: str, *, detail: str, retry: bool = False) -> JSONResponse:
    """Return problem+json (RFC 9457)."""
    return JSONResponse(
        {"type": "about:blank", "title": title, "status": status, "detail": detail},
        status_code=status,
        media_type="application/problem+json",
        headers={"Cache-Control": "no-store"} | ({"Retry-After": "5"} if retry else {}),
    )


async def _on_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette's signature is wider
    return _problem(error.status_code, "Not served", detail=str(error.detail))


async def _on_error(_request: Request, error: Exception) -> Response:
    logger.warning("The gateway could not serve an artifact: %s", error)
    if isinstance(error, StoreUnavailable):
        return _problem(503, "The object store is away", detail=str(error), retry=True)
    return _problem(502, "The object store refuses", detail=str(error))
