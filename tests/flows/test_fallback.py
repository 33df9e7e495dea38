"""A fallback, end to end: real Prefect, saved blocks, two fake Geminis and the sketches."""

import json

import httpx
import pytest

from imagemill.breaker import FAILURES_TO_OPEN
from imagemill.errors import ImagemillError
from tests.flows.test_batch import artifacts_of, entries
from tests.wire.gemini import FakeGemini


@pytest.fixture
def backup(mill):
    """A second Gemini, saved as the block gemini/backup with another model."""
    from blocks.provider import Gemini

    with FakeGemini() as running:
        block = Gemini(api_key="second", base_url=running.url, default_model="gemini-3-pro-image")
        block.save("backup", overwrite=True)
        yield running


def test_a_key_revoked_in_mid_run_moves_the_rest_and_the_result_says_who_drew_what(
    mill, words, backup
):
    """Result, table, summary, gallery and manifest; repeated, it costs nothing."""
    mill.fake.script(faults=[{"kind": "key_refused", "first": 3}])
    prompts = words(5)
    result = mill.run(prompts, max_concurrent=1, fallback=["gemini/backup"])
    backups = ("gemini/backup", "gemini-3-pro-image")
    asked = ("gemini", "gemini-nano-banana-2.1")
    assert entries(result, "provider", "model") == [asked] * 2 + [backups] * 3
    assert (result["success_count"], mill.fake.stats.requests, backup.stats.requests) == (5, 3, 3)
    found = artifacts_of(result["run_id"])
    assert [row["drawn by"] for row in json.loads(found["table"].data)] == [
        *["gemini/gemini-nano-banana-2.1"] * 2, *["gemini/backup/gemini-3-pro-image"] * 3,
    ]  # fmt: skip
    assert "3 by gemini/backup" in found["markdown"].data
    images = httpx.get(result["manifest_url"]).json()["images"]
    assert [image["request"]["model"] for image in images] == [asked[1]] * 2 + [backups[1]] * 3
    assert "gemini/backup · gemini-3-pro-image" in httpx.get(result["gallery_url"]).text
    mill.fake.script(faults=[])
    again = mill.run(prompts, fallback=["gemini/backup"])
    assert (again["reused_count"], again["cost_usd"]) == (5, "0")
    assert entries(again, "sha256", "provider") == entries(result, "sha256", "provider")


def test_a_provider_that_is_away_is_left_alone_for_a_while(mill, words):
    """The breaker opens, the sketches go on drawing, the dead server is not asked again."""
    mill.fake.script(faults=[{"kind": "server_error"}])
    result = mill.run(words(12), max_concurrent=2, size="1K", fallback=["sketch"])
    assert {entry["provider"] for entry in result["results"]} == {"sketch"}
    # Two may be on the wire at the moment when the fifth failure opens it.
    assert FAILURES_TO_OPEN <= mill.fake.stats.requests <= FAILURES_TO_OPEN + 1
    assert not mill.rows("SELECT id FROM reservations WHERE state = 'open'")


def test_without_a_key_the_fallback_draws_them_all(mill, words, monkeypatch):
    """A missing key is no reason to make nothing when somebody else can draw."""
    monkeypatch.delenv("GOOGLE_API_KEY")
    result = mill.run(words(2), fallback=["sketch"])
    assert entries(result, "status", "provider") == [("made", "sketch")] * 2
    assert mill.fake.stats.requests == 0


def test_a_style_lock_keeps_the_batch_with_one_model(mill, words):
    """The first image decides; what its model cannot draw any more is not mixed in."""
    mill.fake.script(faults=[{"kind": "key_refused", "first": 2}])
    result = mill.run(words(3), max_concurrent=3, fallback=["sketch"], style_lock=True)
    statuses = [entry["status"] for entry in result["results"]]
    assert (statuses.count("made"), "reused" in statuses) == (1, False)
    assert {entry["provider"] for entry in result["results"]} <= {"gemini", ""}
    assert "style lock" in json.dumps(result)


def test_a_dry_run_with_a_fallback_tells_the_dearest(mill, words, backup):
    """Who draws is not known beforehand: least of the cheapest, most of the dearest."""
    prompts = words(2)
    alone, both = (
        mill.run(prompts, dry_run=True, **more)["estimate"]
        for more in ({}, {"fallback": ["gemini/backup"]})
    )
    assert float(both["max_usd"]) > float(alone["max_usd"])
    assert both["min_usd"] == alone["min_usd"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"fallback": ["dalle"]}, "no provider 'dalle'"),
        ({"fallback": ["gemini/nobody"]}, "no block gemini/nobody"),
        ({"fallback": ["gemini:gemini-0"]}, "fallback gemini cannot draw.*gemini-nano-banana"),
        ({"fallback": ["gemini"]}, "twice|asked already"),
        ({"fallback": ["sketch"] * 5}, "fallback"),
        (
            {"fallback": ["gemini:gemini-3.1-flash-lite-image"], "size": "2K"},
            "fallback gemini cannot",
        ),
    ],
)
def test_a_fallback_that_cannot_draw_the_batch_is_refused_at_the_door(mill, words, fields, said):
    """Named, before anything is sent."""
    with pytest.raises(ImagemillError, match=f"(?s){said}"):
        mill.run(words(1), **fields)
    assert mill.fake.stats.requests == mill.fake.stats.lookups == 0


@pytest.fixture
def one_place(mill):
    """Let the server's limit on Gemini be one request at once."""
    import asyncio

    from prefect import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

    async def allow(places):
        async with get_client() as client:
            before = await client.read_global_concurrency_limit_by_name("imagemill-gemini")
            await client.update_global_concurrency_limit(
                "imagemill-gemini", GlobalConcurrencyLimitUpdate(limit=places)
            )
            return before.limit

    before = asyncio.run(allow(1))
    yield
    asyncio.run(allow(before))


def test_two_routes_to_one_provider_share_its_places(mill, words, backup, one_place):
    """Leased once for both, or the run would wait for itself; the limit holds for both."""
    mill.fake.script(latency_s=0.1, faults=[{"kind": "key_refused", "first": 3}])
    backup.script(latency_s=0.1)
    result = mill.run(words(5), max_concurrent=3, fallback=["gemini/backup", "sketch"])
    assert result["success_count"] == 5
    assert (mill.fake.stats.max_in_flight, backup.stats.max_in_flight) == (1, 1)
