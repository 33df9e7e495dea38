"""The store as a block: a form with words, and `default` without anybody having saved it."""

import logging
import typing

import pytest
from prefect.blocks.core import Block
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr

from blocks.settings import Settings, local_secrets, write_json
from blocks.store import ArtifactStore, default_settings, forget_stores, load_store
from imagemill.errors import RequestError, ServiceError, StoreMisconfigured
from imagemill.store.base import ContentStore
from imagemill.store.s3 import S3Settings
from tests.store.conftest import image, plain_settings

SECRET = "a-secret-nobody-should-see"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An imagemill home of our own, no variables set, nothing remembered."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"IMAGEMILL_{name.upper()}", raising=False)
    monkeypatch.setenv("IMAGEMILL_HOME", str(tmp_path))
    forget_stores()
    yield tmp_path
    forget_stores()


@pytest.fixture
def no_server():
    """Nobody told Prefect of a server."""
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield


def test_every_field_is_a_titled_sentence():
    """Each field of the form has a title and a description that ends in a full stop."""
    for name, field in ArtifactStore.model_fields.items():
        if name in S3Settings.model_fields:
            assert field.title, name
            assert field.description, name
            assert field.description.endswith("."), name
    assert ArtifactStore.get_block_type_slug() == "artifact-store"


def test_the_form_asks_what_the_store_wants():
    """Form and settings have the same fields, with the same defaults."""
    fields = set(ArtifactStore.model_fields) - set(Block.model_fields)
    assert fields == set(S3Settings.model_fields)
    assert ArtifactStore(bucket="b").settings() == S3Settings(bucket="b")


def test_secrets_are_masked():
    """What is secret prints as stars, in the block and in its settings."""
    block = ArtifactStore(bucket="b", access_key_id="k", secret_access_key=SecretStr(SECRET))
    assert SECRET not in f"{block!r} {block} {block.settings()!r}"
    assert block.settings().secret_access_key.get_secret_value() == SECRET


def test_a_process_has_one_store_for_the_same_fields():
    """Building twice gives the same connections; other fields, other connections."""
    block = ArtifactStore(bucket="b")
    assert block.build() is ArtifactStore(bucket="b").build()
    assert block.build() is not ArtifactStore(bucket="c").build()
    assert isinstance(block.build(), ContentStore)


def test_fields_that_do_not_fit_are_named():
    """An impossible combination is StoreMisconfigured; it names the field and no value."""
    block = ArtifactStore(bucket="b", secret_access_key=SecretStr(SECRET))
    with pytest.raises(StoreMisconfigured, match="both or neither") as caught:
        block.build()
    assert SECRET not in str(caught.value)
    with pytest.raises(StoreMisconfigured, match="endpoint_url"):
        ArtifactStore(bucket="b", endpoint_url=f"http://u:{SECRET}@h").build()


@pytest.mark.usefixtures("no_server")
async def test_default_comes_from_the_environment(monkeypatch, moto_url):
    """Nobody saved a block: `default` is what IMAGEMILL_S3_* say, and it stores."""
    settings = plain_settings(moto_url)
    for name, value in {
        "BUCKET": "from-environment",
        "ENDPOINT_URL": moto_url,
        "PREFIX": "team",
        "PUBLIC_URL": "https://s3.example",
        "REGION": "eu-central-1",
        "ACCESS_KEY_ID": settings.access_key_id,
        "SECRET_ACCESS_KEY": SECRET,
    }.items():
        monkeypatch.setenv(f"IMAGEMILL_S3_{name}", value)
    found = (await load_store("default")).settings
    assert (found.bucket, found.endpoint_url, found.prefix) == (
        "from-environment",
        moto_url,
        "team",
    )
    assert (found.region, found.presign_endpoint_url) == ("eu-central-1", "https://s3.example")
    assert found.secret_access_key.get_secret_value() == SECRET


@pytest.mark.usefixtures("no_server")
async def test_default_is_the_local_server(home, moto_url):
    """With no variables set, `default` is the server that `imagemill up` recorded, with its key."""
    record = {"url": moto_url, "bucket": "recorded", "access_key_id": "imagemill"}
    write_json(home / "services.json", {"object_store": record})
    store = await load_store("artifact-store/default")
    secret = local_secrets(home)["s3_secret_access_key"]
    assert store.settings.secret_access_key.get_secret_value() == secret
    assert store.settings.access_key_id == "imagemill"
    assert await store.put_bytes(*image()) is True
    assert await load_store() is store
    await store.aclose()


def test_the_environment_goes_before_the_local_server(home, monkeypatch):
    """Who sets a bucket means it, even where a local server runs."""
    write_json(home / "services.json", {"object_store": {"url": "http://h", "bucket": "local"}})
    monkeypatch.setenv("IMAGEMILL_S3_BUCKET", "mine")
    assert default_settings(Settings()).bucket == "mine"


@pytest.mark.usefixtures("no_server")
async def test_with_nothing_the_ways_out_are_named():
    """No block, no variables, no local server: the error says both ways to get a store."""
    with pytest.raises(StoreMisconfigured, match=r"imagemill up.*IMAGEMILL_S3_BUCKET"):
        await load_store()
    with pytest.raises(RequestError, match="no Prefect server is configured"):
        await load_store("team")


@pytest.mark.usefixtures("no_server")
async def test_half_an_environment_is_refused(monkeypatch):
    """A key without its secret, or an endpoint without a bucket, is an error with the field."""
    monkeypatch.setenv("IMAGEMILL_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreMisconfigured, match="bucket"):
        await load_store()
    monkeypatch.setenv("IMAGEMILL_S3_BUCKET", "b")
    monkeypatch.setenv("IMAGEMILL_S3_SECRET_ACCESS_KEY", SECRET)
    with pytest.raises(StoreMisconfigured, match="both or neither") as caught:
        await load_store()
    assert SECRET not in str(caught.value)


async def test_a_dead_server_does_not_take_default_with_it(monkeypatch, caplog):
    """With Prefect's server down, `default` is the environment's, with a warning; others fail."""
    monkeypatch.setenv("IMAGEMILL_S3_BUCKET", "mine")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        with caplog.at_level(logging.WARNING, logger="blocks.store"):
            assert (await load_store()).settings.bucket == "mine"
        assert "does not answer" in caplog.text
        with pytest.raises(ServiceError, match="PREFECT_API_URL"):
            await load_store("team")


async def test_a_server_that_refuses_us_is_no_reason_to_use_another_store(monkeypatch, weak):
    """A Prefect server that answers with an error is a ServiceError, for `default` too."""
    monkeypatch.setenv("IMAGEMILL_S3_BUCKET", "mine")
    weak.script += [("GET", 401, "Unauthorized")] * 9
    with (
        temporary_settings({PREFECT_API_URL: f"{weak.url}/api"}),
        pytest.raises(ServiceError, match="PREFECT_API_URL"),
    ):
        await load_store()


@pytest.fixture(scope="module")
def prefect_server():
    """A Prefect server of our own, empty."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.mark.prefect
@pytest.mark.usefixtures("prefect_server")
class TestWithServer:
    """One server for all of these; each promise saves its own blocks."""

    async def test_unsaved_blocks_on_a_server(self, monkeypatch):
        """A server that knows no store at all: `default` is the environment's, others are none."""
        monkeypatch.setenv("IMAGEMILL_S3_BUCKET", "mine")
        assert (await load_store()).settings.bucket == "mine"
        with pytest.raises(RequestError, match="saved are: none"):
            await load_store("team")

    async def test_a_saved_block_is_loaded(self, moto_url, monkeypatch):
        """A saved block goes before the environment, its secret with it, and it stores."""
        monkeypatch.setenv("IMAGEMILL_S3_BUCKET", "mine")
        settings = plain_settings(moto_url)
        block = ArtifactStore(**settings.model_dump())
        for name in ("team", "default"):
            await block.save(name, overwrite=True)
        for name in ("team", "artifact-store/team", "default"):
            store = await load_store(name)
            assert store.settings == settings
        assert await store.put_bytes(*image()) is True
        with pytest.raises(RequestError, match="saved are: default, team"):
            await load_store("nobody")

    async def test_a_changed_block_is_noticed(self, monkeypatch):
        """A block is believed for a minute, then read again: no restart to rotate a key."""
        await ArtifactStore(bucket="one").save("changing", overwrite=True)
        assert (await load_store("changing")).settings.bucket == "one"
        await ArtifactStore(bucket="two").save("changing", overwrite=True)
        assert (await load_store("changing")).settings.bucket == "one"
        monkeypatch.setattr("blocks.store.FRESH_S", -1.0)
        assert (await load_store("changing")).settings.bucket == "two"


def test_no_field_is_typed_loosely():
    """Every choice in the form is a closed list."""
    for name in ("addressing_style", "checksum_mode", "conditional_put", "url_mode"):
        assert typing.get_args(ArtifactStore.model_fields[name].annotation)
