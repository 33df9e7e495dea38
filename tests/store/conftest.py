"""Three servers to hold the same promises against: SeaweedFS, moto, and one that is weak."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from moto.server import ThreadedMotoServer

from apps.services.seaweed import SeaweedHandle
from imagemill.artifact import ArtifactRef, digest_of
from imagemill.store.s3 import S3Settings, S3Store
from tests.seaweed_fixture import seaweed_settings, shared_seaweed
from tests.store.fake_s3 import FakeS3, fake_s3


@pytest.fixture(scope="session")
def seaweed() -> Iterator[SeaweedHandle]:
    with shared_seaweed() as server:
        yield server


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def weak() -> Iterator[FakeS3]:
    with fake_s3() as server:
        yield server


@pytest.fixture(params=["moto", "weak", pytest.param("seaweed", marks=pytest.mark.seaweed)])
def server_settings(request) -> S3Settings:
    """Settings for each of the three servers in turn."""
    if request.param == "seaweed":
        return seaweed_settings(request.getfixturevalue("seaweed"))
    if request.param == "moto":
        return plain_settings(request.getfixturevalue("moto_url"))
    return plain_settings(request.getfixturevalue("weak").url)


@pytest.fixture
async def stores() -> AsyncIterator[AsyncExitStack]:
    """Closes the stores that a test opens with `opened(stores, settings)`."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def opened(stores):
    """A function that opens a store and sees to its end."""

    def open_store(settings: S3Settings, **changes) -> S3Store:
        store = S3Store(S3Settings(**{**settings.model_dump(), **changes}))
        stores.push_async_callback(store.aclose)
        return store

    return open_store


@pytest.fixture
def store(server_settings, opened) -> S3Store:
    return opened(server_settings)


def plain_settings(url: str, **changes) -> S3Settings:
    """Settings for a server that asks for no particular key, in a bucket made on demand."""
    fields = {
        "bucket": "artifacts",
        "prefix": f"t/{secrets.token_hex(8)}",
        "endpoint_url": url,
        "access_key_id": "AKIDFORTESTS",
        "secret_access_key": "secret-for-tests",
        "create_bucket": True,
    }
    return S3Settings(**{**fields, **changes})


def image(text: str = "a fox") -> tuple[ArtifactRef, bytes]:
    """Bytes that pass for an image, and their reference."""
    data = text.encode()
    return ArtifactRef(digest=digest_of(data), size_bytes=len(data)), data
