"""What every store promises, on SeaweedFS, on moto, and on a server that ignores If-None-Match."""

import asyncio

import httpx
import pytest

from imagemill.artifact import ArtifactRef
from imagemill.errors import ArtifactError
from imagemill.store.base import ContentStore
from tests.store.conftest import image

pytestmark = pytest.mark.timeout(120)


async def test_it_is_a_content_store(store):
    """An S3 store is a ContentStore and says where it is."""
    assert isinstance(store, ContentStore)
    assert store.name == f"s3://artifacts/{store.settings.prefix}"


async def test_what_goes_in_comes_out(store):
    """Bytes are new once, there afterwards, and the same when read back."""
    ref, data = image()
    assert not await store.exists(ref)
    assert await store.put_bytes(ref, data) is True
    assert await store.put_bytes(ref, data) is False
    assert await store.exists(ref)
    assert await store.get(ref) == data


async def test_a_file_is_stored_like_bytes(store, tmp_path):
    """An upload from the spool has the same outcome as one from memory."""
    ref, data = image("a file of some length" * 100_000)
    path = tmp_path / "spooled"
    path.write_bytes(data)
    assert await store.put_file(ref, path) is True
    assert await store.put_file(ref, path) is False
    assert await store.get(ref) == data


async def test_the_key_is_the_digest_under_the_prefix(store, opened):
    """An artifact lies at `PREFIX/ab/<digest>.png`, and nothing else is left beside it."""
    ref, data = image("where am I")
    await store.check()
    await store.put_bytes(ref, data)
    assert [each.key for each in await store.listing()] == [f"{ref.digest[:2]}/{ref.digest}.png"]
    root = opened(store.settings, prefix="")
    found = await root.listing(store.settings.prefix)
    assert [(each.key, each.size_bytes) for each in found] == [
        (f"{store.settings.prefix}/{ref.key}", len(data))
    ]
    assert found[0].modified_at.tzinfo is not None


async def test_the_url_opens_with_the_right_headers(store):
    """A presigned URL gives a browser the bytes, their type, and leave to keep them for good."""
    ref, data = image("a page")
    await store.put_bytes(ref, data)
    async with httpx.AsyncClient() as client:
        answer = await client.get(store.url(ref))
    assert answer.status_code == 200
    assert answer.content == data
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-amz-meta-sha256"] == ref.digest


async def test_sixteen_creators_make_one_object(store, opened):
    """When sixteen writers in two stores race for one digest, one object lies there, whole."""
    other = opened(store.settings)
    ref, data = image("contested")
    won = await asyncio.gather(*((store, other)[n % 2].put_bytes(ref, data) for n in range(16)))
    assert len(await store.listing()) == 1
    assert await store.get(ref) == data
    assert any(won)


async def test_names_are_replaced(store):
    """`put_named` writes over what is there; readers are told to ask again."""
    key = "runs/run-1/gallery.html"
    assert not await store.exists_named(key)
    for page in (b"<p>first", b"<p>second"):
        await store.put_named(key, page, media_type="text/html")
    assert await store.get_named(key) == b"<p>second"
    assert await store.exists_named(key)
    async with httpx.AsyncClient() as client:
        answer = await client.get(store.named_url(key))
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


async def test_wrong_bytes_are_not_stored(store, tmp_path):
    """Bytes that are not what their digest says are refused before anything is sent."""
    ref, _ = image()
    path = tmp_path / "spooled"
    path.write_bytes(b"a cat")
    with pytest.raises(ArtifactError, match="not what its digest says"):
        await store.put_bytes(ref, b"a cat")
    with pytest.raises(ArtifactError, match="not what its digest says"):
        await store.put_file(ref, path)
    assert await store.listing() == []


async def test_damage_is_noticed(store):
    """Stored bytes that changed are an error that names the key, never a wrong image."""
    ref, data = image()
    await store.put_bytes(ref, data)
    store._bucket.put(ref.key, b"a cat", media_type="image/png")
    with pytest.raises(ArtifactError, match=ref.digest):
        await store.get(ref)


async def test_missing_things_are_missing(store, tmp_path):
    """Reading what is not there, in the store or in the spool, is an ArtifactError."""
    ref = ArtifactRef(digest="0" * 64, size_bytes=1)
    await store.check()
    with pytest.raises(ArtifactError, match="is not in s3://artifacts"):
        await store.get(ref)
    with pytest.raises(ArtifactError):
        await store.get_named("runs/none/manifest.json")
    with pytest.raises(ArtifactError, match="spool"):
        await store.put_file(ref, tmp_path / "nowhere")


async def test_deleting_is_idempotent(store):
    """Deleted objects are gone; deleting them again, or what never was, is no error."""
    refs = [image(f"image {n}") for n in range(5)]
    for ref, data in refs:
        await store.put_bytes(ref, data)
    for _ in range(2):
        await store.delete(ref.key for ref, _ in refs[:4])
    assert [each.key for each in await store.listing()] == [refs[4][0].key]


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "a b", "a\\b", "é"]
)
async def test_names_cannot_climb(store, key):
    """Only plain names joined by single slashes are keys."""
    for use in (store.exists_named(key), store.get_named(key), store.delete([key])):
        with pytest.raises(ArtifactError, match="plain names"):
            await use
    with pytest.raises(ArtifactError, match="plain names"):
        store.named_url(key)
    with pytest.raises(ArtifactError, match="plain names"):
        await store.put_named(key, b"", media_type="text/html")


async def test_a_closed_store_opens_again(store):
    """After `aclose` the next use opens new connections: a shared store cannot be broken so."""
    ref, data = image()
    await store.put_bytes(ref, data)
    await store.aclose()
    assert await store.get(ref) == data
