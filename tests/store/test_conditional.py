"""A conditional PUT is used where the server proves it, and done without where it does not."""

import asyncio

import pytest

from imagemill.errors import StoreMisconfigured, StoreUnavailable
from tests.seaweed_fixture import seaweed_settings
from tests.store.conftest import image, plain_settings


@pytest.mark.seaweed
async def test_seaweed_proves_it(seaweed, opened):
    """On SeaweedFS exactly one of sixteen racing creators is told that its object was new."""
    store = opened(seaweed_settings(seaweed))
    ref, data = image("contested")
    won = await asyncio.gather(*(store.put_bytes(ref, data) for _ in range(16)))
    assert sorted(won) == [False] * 15 + [True]


async def test_a_server_that_ignores_the_header_is_asked_first(weak, opened):
    """Where a conditional PUT overwrites, a HEAD finds what is there and nothing is sent again."""
    store = opened(plain_settings(weak.url))
    ref, data = image()
    await store.put_bytes(ref, data)
    weak.requests.clear()
    assert await store.put_bytes(ref, data) is False
    assert weak.requests == ["HEAD"]


async def test_the_server_is_tried_once(weak, opened):
    """Sixteen uploads at once try the server's honesty once: two PUTs and a DELETE."""
    store = opened(plain_settings(weak.url))
    await asyncio.gather(*(store.put_bytes(*image(f"image {n}")) for n in range(16)))
    assert weak.requests.count("PUT") == 16 + 2
    assert weak.requests.count("DELETE") == 1
    assert len(await store.listing()) == 16


@pytest.mark.parametrize("status", [400, 412, 501])
async def test_a_server_that_stumbles_over_the_header_is_asked_first(weak, opened, status):
    """A server that refuses the header, or always answers 412, loses no artifact."""
    weak.script += [("PUT", status, "Odd"), ("PUT", status, "Odd")]
    store = opened(plain_settings(weak.url))
    ref, data = image()
    assert await store.put_bytes(ref, data) is True
    assert await store.get(ref) == data


async def test_a_key_that_may_not_delete_may_still_write(weak, opened):
    """The trial's object stays behind when deleting is forbidden; the upload goes on."""
    weak.script += [("DELETE", 403, "AccessDenied")]
    store = opened(plain_settings(weak.url))
    assert await store.put_bytes(*image()) is True


@pytest.mark.parametrize(("mode", "requests"), [("on", ["PUT"]), ("off", ["HEAD", "PUT"])])
async def test_the_operator_may_decide(weak, opened, mode, requests):
    """`on` trusts the server untried, `off` asks before each PUT: neither tries anything."""
    store = opened(plain_settings(weak.url, conditional_put=mode))
    assert await store.put_bytes(*image()) is True
    assert weak.requests == requests


async def test_a_lost_race_is_tried_again(weak, opened):
    """409 while somebody else writes the key: nobody won, so the upload is sent again."""
    weak.script += [("PUT", 409, "ConditionalRequestConflict")]
    store = opened(plain_settings(weak.url, conditional_put="on"))
    ref, data = image()
    assert await store.put_bytes(ref, data) is True
    assert await store.get(ref) == data


async def test_a_lost_race_is_lost_to_the_winner(weak, opened):
    """409 while somebody else writes the key: they won, so it lay there already."""
    store = opened(plain_settings(weak.url, conditional_put="on"))
    ref, data = image()
    await store.put_bytes(ref, data)
    weak.script += [("PUT", 409, "ConditionalRequestConflict")]
    assert await store.put_bytes(ref, data) is False


async def test_an_endless_race_is_left_to_the_task(weak, opened):
    """409 without end is StoreUnavailable: the task retries the upload."""
    weak.script += [("PUT", 409, "ConditionalRequestConflict")] * 5
    store = opened(plain_settings(weak.url, conditional_put="on"))
    with pytest.raises(StoreUnavailable, match="409"):
        await store.put_bytes(*image())


async def test_the_bucket_is_made_once_and_only_when_told(moto_url, opened):
    """`create_bucket` makes a missing bucket at the first write; otherwise it is an error."""
    settings = plain_settings(moto_url, bucket="made-on-demand", create_bucket=False)
    with pytest.raises(StoreMisconfigured, match="IMAGEMILL_S3_BUCKET"):
        await opened(settings).put_bytes(*image())
    store = opened(settings, create_bucket=True)
    won = await asyncio.gather(*(store.put_bytes(*image(f"image {n}")) for n in range(8)))
    assert all(won)
    assert len(await opened(settings).listing()) == 8
