"""The gateway: short addresses that stay good, and nothing else of the bucket behind them."""

import asyncio
import secrets

import httpx
import pytest
from moto.server import ThreadedMotoServer

from apps.gateway import create_app, default_app
from blocks.store import load_store
from imagemill.errors import StoreMisconfigured
from imagemill.store.s3 import S3Store
from tests.seaweed_fixture import seaweed_settings, shared_seaweed
from tests.store.conftest import image, plain_settings


@pytest.fixture(scope="module")
def moto_url():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def store(moto_url):
    store = S3Store(plain_settings(moto_url))
    yield store
    await store.aclose()


@pytest.fixture
async def web(store):
    async with browser(store) as client:
        yield client


def browser(store: S3Store) -> httpx.AsyncClient:
    """A client of a gateway over `store`."""

    async def loader() -> S3Store:
        return store

    transport = httpx.ASGITransport(create_app(loader))
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


async def test_each_view_gets_a_fresh_url(web, store):
    """An artifact's address leads, uncached, to a presigned URL that opens."""
    ref, data = image()
    await store.put_bytes(ref, data)
    for verb in (web.get, web.head):
        answer = await verb(f"/a/{ref.digest}.png")
        assert answer.status_code == 302
        assert answer.headers["cache-control"] == "no-store"
        async with httpx.AsyncClient() as client:
            assert (await client.get(answer.headers["location"])).content == data


@pytest.mark.seaweed
async def test_it_works_on_a_server_that_checks():
    """On SeaweedFS the redirect opens, and names the readers' host."""
    with shared_seaweed() as server:
        public = server.url.replace("127.0.0.1", "localhost")
        store = S3Store(seaweed_settings(server, presign_endpoint_url=public, url_mode="s3_uri"))
        ref, data = image()
        await store.put_bytes(ref, data)
        async with browser(store) as web, httpx.AsyncClient(trust_env=False) as client:
            location = (await web.get(f"/a/{ref.digest}.png")).headers["location"]
            assert location.startswith(public)
            assert (await client.get(location)).content == data
        await store.aclose()


async def test_bytes_come_inline_and_are_kept(web, store):
    """`?inline=1` sends the bytes with their digest as ETag; who has them gets 304."""
    ref, data = image()
    await store.put_bytes(ref, data)
    address = f"/a/{ref.digest}.png?inline=1"
    answer = await web.get(address)
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["etag"] == f'"{ref.digest}"'
    assert "immutable" in answer.headers["cache-control"]
    again = await web.get(address, headers={"If-None-Match": f'"x", W/"{ref.digest}"'})
    assert (again.status_code, again.content) == (304, b"")
    assert (await web.get(f"/a/{ref.digest}.png?inline=0")).status_code == 302


async def test_what_a_run_wrote_is_found(web, store):
    """Manifest and gallery are found by run and name; a changed one is not taken from a cache."""
    await store.put_named("runs/run-1/gallery.html", b"<p>one", media_type="text/html")
    answer = await web.get("/r/run-1/gallery.html")
    assert answer.status_code == 302
    assert "/runs/run-1/gallery.html?" in answer.headers["location"]
    page = await web.get("/r/run-1/gallery.html?inline=1")
    assert page.content == b"<p>one"
    assert page.headers["cache-control"] == "no-cache"
    kept = {"If-None-Match": page.headers["etag"]}
    assert (await web.get("/r/run-1/gallery.html?inline=1", headers=kept)).status_code == 304
    await store.put_named("runs/run-1/gallery.html", b"<p>two", media_type="text/html")
    changed = await web.get("/r/run-1/gallery.html?inline=1", headers=kept)
    assert (changed.status_code, changed.content) == (200, b"<p>two")


async def test_a_stored_page_has_no_say_here(web, store):
    """HTML sent inline runs in a sandbox and nothing is sniffed."""
    await store.put_named("runs/run-1/gallery.html", b"<script>", media_type="text/html")
    headers = (await web.get("/r/run-1/gallery.html?inline=1")).headers
    assert headers["content-security-policy"].startswith("sandbox")
    assert "allow-same-origin" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


DIGEST = "0" * 64


@pytest.mark.parametrize(
    "path",
    [
        f"/a/{DIGEST}.png",
        f"/a/{DIGEST}.png?inline=1",
        "/r/run-1/manifest.json",
        "/r/run-1/manifest.json?inline=1",
        f"/a/{DIGEST}",
        f"/a/{DIGEST}.exe",
        f"/a/{DIGEST[1:]}.png",
        f"/a/{'A' * 64}.png",
        f"/a/00/{DIGEST}.png",
        f"/a/..%2F{DIGEST}.png",
        f"/a/{DIGEST}.png%0A",
        "/a/",
        "/r/run-1/secret.key",
        "/r/run-1/.hidden.json",
        "/r/..%2F..%2Fsecret/manifest.json",
        "/r/../secret.json",
        "/r/%2e%2e/manifest.json",
        "/r/run-1/..%2Fmanifest.json",
        "/r/run-1/a%2Fmanifest.json",
        "/r/run-1/a/manifest.json",
        "/r/run%201/manifest.json",
        "/secret.json",
        "/docs",
        "/openapi.json",
    ],
)
async def test_nothing_else_is_served(web, store, path):
    """What does not exist, or has another shape, is 404 in problem+json; nothing is reached."""
    await store.put_named("secret.json", b"{}", media_type="application/json")
    await store.put_named("runs/secret.json", b"{}", media_type="application/json")
    await store.put_named("runs/run-1/a/manifest.json", b"{}", media_type="application/json")
    answer = await web.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404


async def test_only_reading(web):
    """Nothing can be written through the gateway."""
    for verb in (web.post, web.put, web.delete):
        answer = await verb(f"/a/{DIGEST}.png")
        assert answer.status_code == 405
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_store_that_is_away_is_said_so():
    """With the store down the answer is 503, with the remedy and when to ask again."""
    async with browser(S3Store(plain_settings("http://127.0.0.1:9"))) as web:
        answer = await web.get(f"/a/{DIGEST}.png")
        assert (await web.get("/healthz")).json() == {"status": "ok"}
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["content-type"] == "application/problem+json"
    assert "imagemill up" in answer.json()["detail"]


async def test_damage_is_not_served(web, store):
    """Stored bytes that are not what their digest says are a 502, never an image."""
    ref, data = image()
    await store.put_bytes(ref, data)
    store._bucket.put(ref.key, b"a cat", media_type="image/png")
    assert (await web.get(f"/a/{ref.digest}.png?inline=1")).status_code == 502


async def test_a_store_set_up_wrongly_is_said_so():
    """A loader that cannot build the store gives 502 with its remedy."""

    async def loader() -> S3Store:
        raise StoreMisconfigured("No such block.", remedy="Save it.")

    transport = httpx.ASGITransport(create_app(loader))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as web:
        answer = await web.get("/r/run-1/manifest.json")
    assert answer.status_code == 502
    assert answer.json()["detail"] == "No such block. Save it."


async def test_the_index_says_what_it_is(web):
    """The front page is a plain page that names the two kinds of address."""
    answer = await web.get("/")
    assert "/a/&lt;digest&gt;.png" in answer.text


def test_the_default_app_serves_the_default_store():
    """uvicorn's factory uses the default store."""
    assert default_app().state.store_loader is load_store


async def test_many_viewers_at_once(web, store):
    """A page with forty images gets forty good addresses."""
    images = [image(f"{secrets.token_hex(4)} {n}") for n in range(40)]
    await asyncio.gather(*(store.put_bytes(ref, data) for ref, data in images))
    answers = await asyncio.gather(*(web.get(f"/a/{ref.digest}.png") for ref, _ in images))
    assert {answer.status_code for answer in answers} == {302}
