"""Keys, signatures and refusals: what a mock server does not check, on SeaweedFS; the rest scripted."""

import logging
import socket
from contextlib import closing
from datetime import timedelta

import httpx
import pytest
from pydantic import ValidationError

from imagemill.errors import ArtifactError, StoreMisconfigured, StoreUnavailable
from imagemill.store.s3 import S3Settings
from tests.seaweed_fixture import seaweed_settings
from tests.store.conftest import image, plain_settings


async def fetched(url: str) -> httpx.Response:
    """What somebody with nothing but the URL gets."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(url)


@pytest.mark.seaweed
@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"secret_access_key": "wrong-secret-value"}, "IMAGEMILL_S3_SECRET_ACCESS_KEY"),
        ({"access_key_id": "nobody"}, "IMAGEMILL_S3_ACCESS_KEY_ID"),
        ({"bucket": "no-such-bucket"}, "IMAGEMILL_S3_BUCKET"),
    ],
)
async def test_a_wrong_field_is_named(seaweed, opened, changes, remedy):
    """Wrong key, secret or bucket is StoreMisconfigured; it names what to correct, no secret."""
    store = opened(seaweed_settings(seaweed), **changes)
    for use in (store.check(), store.put_bytes(*image())):
        with pytest.raises(StoreMisconfigured) as caught:
            await use
        assert remedy in caught.value.remedy
        assert not caught.value.retryable
        assert "wrong-secret-value" not in f"{caught.value!r} {caught.value} {store.settings!r}"


@pytest.mark.seaweed
async def test_a_url_cannot_be_turned_to_something_else(seaweed, opened):
    """A presigned URL opens its own object; tampered with, or without its signature, 403."""
    store = opened(seaweed_settings(seaweed))
    ref, data = image("mine")
    other, other_data = image("not yours")
    await store.put_bytes(ref, data)
    await store.put_bytes(other, other_data)
    url = store.url(ref)
    assert (await fetched(url)).content == data
    for tampered in (
        url.replace(ref.key, other.key),
        url.replace("X-Amz-Expires=86400", "X-Amz-Expires=604800"),
        url.partition("?")[0],
    ):
        assert tampered != url
        assert (await fetched(tampered)).status_code == 403


@pytest.mark.seaweed
async def test_a_url_expires(seaweed, opened, monkeypatch):
    """A URL signed two minutes ago for one minute is refused; for five minutes it still opens."""
    import botocore.auth

    now = botocore.auth.get_current_datetime()
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda **_: now - timedelta(minutes=2)
    )
    store = opened(seaweed_settings(seaweed))
    ref, data = image()
    url, longer = (store.presigned_url(ref.key, ttl_s=ttl_s) for ttl_s in (60, 300))
    monkeypatch.undo()
    await store.put_bytes(ref, data)
    assert (await fetched(url)).status_code == 403
    assert (await fetched(longer)).content == data


@pytest.mark.seaweed
async def test_readers_may_come_by_another_name(seaweed, opened):
    """A URL names the readers' endpoint and its signature holds there, not at our own."""
    public = seaweed.url.replace("127.0.0.1", "localhost")
    store = opened(seaweed_settings(seaweed), presign_endpoint_url=public)
    ref, data = image()
    await store.put_bytes(ref, data)
    url = store.url(ref)
    assert url.startswith(f"{public}/artifacts/")
    assert (await fetched(url)).content == data
    assert (await fetched(url.replace("localhost", "127.0.0.1"))).status_code == 403


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("public", "https://cdn.example/team/{key}"), ("s3_uri", "s3://artifacts/team/{key}")],
)
def test_urls_come_in_other_kinds(opened, mode, expected):
    """A CDN's URL is unsigned and below its base; an s3:// one is for machines."""
    store = opened(
        plain_settings("http://127.0.0.1:1", prefix="team"),
        url_mode=mode,
        public_base_url="https://cdn.example/",
    )
    ref, _ = image()
    assert store.url(ref) == expected.format(key=ref.key)
    assert "X-Amz-Signature" in store.presigned_url(ref.key)


def test_aws_gets_the_bucket_in_the_host_and_signature_v4(opened):
    """Without an endpoint URLs are AWS's, virtual-host style, signed with SigV4."""
    store = opened(plain_settings("", region="eu-central-1", prefix=""))
    url = store.named_url("runs/r1/manifest.json")
    assert url.startswith("https://artifacts.s3.eu-central-1.amazonaws.com/runs/r1/manifest.json?")
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url


async def test_nobody_there(opened):
    """A refused connection is StoreUnavailable, to be retried, and says how to go on."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    store = opened(plain_settings(url))
    for use in (store.check(), store.put_bytes(*image()), store.get(image()[0])):
        with pytest.raises(StoreUnavailable, match="imagemill up") as caught:
            await use
        assert caught.value.retryable


async def test_no_proxy_stands_before_this_machine(moto_url, opened, monkeypatch):
    """A proxy in the environment is not asked for a server on loopback."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    await opened(plain_settings(moto_url)).check()


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (503, "SlowDown", StoreUnavailable, "retried"),
        (400, "RequestTimeout", StoreUnavailable, "retried"),
        (429, "TooMany", StoreUnavailable, "retried"),
        (500, "InternalError", StoreUnavailable, "retried"),
        (403, "SignatureDoesNotMatch", StoreMisconfigured, "IMAGEMILL_S3_SECRET_ACCESS_KEY"),
        (403, "InvalidAccessKeyId", StoreMisconfigured, "IMAGEMILL_S3_ACCESS_KEY_ID"),
        (403, "AccessDenied", StoreMisconfigured, "read, write and delete"),
        (403, "RequestTimeTooSkewed", StoreMisconfigured, "clock"),
        (400, "ExpiredToken", StoreMisconfigured, "session_token"),
        (404, "NoSuchBucket", StoreMisconfigured, "IMAGEMILL_S3_BUCKET"),
        (400, "AuthorizationHeaderMalformed", StoreMisconfigured, "IMAGEMILL_S3_REGION"),
        (401, "Unauthorized", StoreMisconfigured, "checksum_mode"),
        (501, "NotImplemented", StoreMisconfigured, "checksum_mode"),
        (418, "Teapot", StoreMisconfigured, "IMAGEMILL_S3_ENDPOINT_URL"),
    ],
)
async def test_answers_are_sorted_by_what_to_do(weak, opened, status, code, error, words):
    """Away for now is retried; set up wrongly is not, and the field to correct is named."""
    weak.script += [("PUT", status, code)]
    store = opened(plain_settings(weak.url, create_bucket=False))
    with pytest.raises(error, match=code) as caught:
        await store.put_named("runs/r1/manifest.json", b"{}", media_type="application/json")
    assert words in caught.value.remedy
    assert "secret-for-tests" not in str(caught.value)
    assert weak.requests == ["PUT"], "boto3 must not retry by itself"


async def test_a_server_that_is_no_store_fails_the_check(weak, opened, monkeypatch):
    """A server that returns other bytes than it was given is StoreMisconfigured."""
    store = opened(plain_settings(weak.url))
    monkeypatch.setattr(store._bucket, "read", lambda _key: b"<html>welcome</html>")
    with pytest.raises(StoreMisconfigured, match="other bytes"):
        await store.check()


async def test_no_keys_at_all(opened, monkeypatch, tmp_path):
    """Without keys in the fields or on the machine the error names the fields."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    store = opened(plain_settings("http://127.0.0.1:9", access_key_id="", secret_access_key=""))
    with pytest.raises(StoreMisconfigured, match="IMAGEMILL_S3_ACCESS_KEY_ID"):
        await store.check()


async def test_tls_where_there_is_none(weak, opened):
    """https:// before a server that speaks plain HTTP is an error of the settings."""
    store = opened(plain_settings(weak.url.replace("http:", "https:")))
    with pytest.raises(StoreMisconfigured, match="TLS"):
        await store.check()


async def test_what_boto3_itself_refuses(opened):
    """Settings that boto3 refuses are StoreMisconfigured before anything is sent."""
    store = opened(plain_settings("http://127.0.0.1:9", region="not a region"))
    with pytest.raises(StoreMisconfigured, match="boto3 refuses"):
        await store.check()


async def test_an_answer_cut_short_is_retried(weak, opened):
    """A body shorter than it said is StoreUnavailable: the next try may get it whole."""
    ref, data = image("a long body")
    store = opened(plain_settings(weak.url))
    await store.put_bytes(ref, data)
    headers, _ = weak.objects[f"/artifacts/{store.settings.prefix}/{ref.key}"]
    headers |= {"Content-Length": "999", "Connection": "close"}
    with pytest.raises(StoreUnavailable):
        await store.get(ref)


async def test_bytes_changed_on_the_way_are_noticed(weak, opened):
    """Bytes that differ from the server's own checksum are an ArtifactError."""
    ref, data = image()
    store = opened(plain_settings(weak.url))
    await store.put_bytes(ref, data)
    headers, _ = weak.objects[f"/artifacts/{store.settings.prefix}/{ref.key}"]
    headers |= {"x-amz-checksum-crc32": "AAAAAA=="}
    with pytest.raises(ArtifactError, match="checksum"):
        await store.get(ref)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bucket": ""}, "bucket"),
        ({"prefix": "a//b"}, "prefix"),
        ({"prefix": "../b"}, "prefix"),
        ({"endpoint_url": "127.0.0.1:8333"}, "http"),
        ({"endpoint_url": "http://user:secret-for-tests@host"}, "key fields"),
        ({"secret_access_key": ""}, "both or neither"),
        ({"access_key_id": ""}, "both or neither"),
        ({"url_mode": "public"}, "public_base_url"),
        ({"presign_ttl_s": 604_801}, "presign_ttl_s"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, words):
    """Settings are checked when made, and the error repeats no value."""
    with pytest.raises(ValidationError, match=words) as caught:
        plain_settings("http://127.0.0.1:9", **changes)
    assert "secret-for-tests" not in str(caught.value)


def test_slashes_around_are_taken_off():
    """`/team/images/` and `team/images` are one prefix; a URL's last slash does not count."""
    settings = plain_settings("http://127.0.0.1:9/", prefix="/team/images/")
    assert (settings.prefix, settings.endpoint_url) == ("team/images", "http://127.0.0.1:9")
    assert hash(settings) == hash(S3Settings(**settings.model_dump()))


async def test_secrets_stay_out_of_the_log(weak, opened, caplog):
    """Nothing we log, at any level, holds the secret."""
    with caplog.at_level(logging.DEBUG, logger="imagemill"):
        await opened(plain_settings(weak.url)).put_bytes(*image())
    assert "If-None-Match" in caplog.text or "conditional" in caplog.text
    assert "secret-for-tests" not in caplog.text
