"""Runs that another process makes are followed through the ledger."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from imagemill.errors import ProviderError, UnsupportedRequest
from imagemill.following import followed, result_of_row
from imagemill.ledger import RunRow, open_ledger
from imagemill.ledger.holder import holder

RUN = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def ledger(ledger_url):
    opened = open_ledger(ledger_url)
    yield opened
    opened.close()


def row(state, **changes):
    now = datetime.now(UTC)
    fields = {
        "id": RUN, "kind": "batch", "lineage": RUN, "batch_digest": "0" * 64, "state": state,
        "holder": "", "created_at": now, "heartbeat_at": now,
    }  # fmt: skip
    return RunRow(**{**fields, **changes})


def wait(ledger, **how):
    return followed(ledger, RUN, within_s=how.pop("within_s", 30), poll_s=0, **how)


async def test_a_queued_run_is_begun_by_another_process_under_its_id(ledger):
    """Who waits gets the row as soon as it has ended, whoever made it."""
    await ledger.queue_run(row("queued"))
    waiting = asyncio.create_task(wait(ledger))
    begun = await ledger.begin_run(row("running", holder=holder()))
    assert begun.state == "running"
    assert not waiting.done()
    await ledger.end_run(RUN, "completed", {"run_id": RUN, "total": 0, "success_count": 0,
                                            "failure_count": 0})  # fmt: skip
    found = await waiting
    assert found.state == "completed"
    assert (await result_of_row(ledger, found)).run_id == RUN


async def test_nobody_takes_it_and_the_lane_is_named(ledger):
    await ledger.queue_run(row("queued"))
    with pytest.raises(ProviderError, match="Nobody took run") as untaken:
        await wait(ledger, within_s=0)
    assert "imagemill up --gpu" in untaken.value.remedy


async def test_a_process_that_died_is_noticed(ledger):
    """A run whose heart stopped is nobody's: who waits may have it made elsewhere."""
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    await ledger.queue_run(row("running", holder="elsewhere:1:1", heartbeat_at=long_ago))
    assert await wait(ledger) is None


async def test_what_was_refused_at_the_door_is_raised_where_it_was_asked(ledger):
    await ledger.queue_run(row("queued"))
    said = {"trouble": "There is no LoRA.", "remedy": "Known: ink.", "class": "unsupported"}
    await ledger.end_run(RUN, "failed", said)
    found = await wait(ledger)
    with pytest.raises(UnsupportedRequest, match="There is no LoRA") as refused:
        await result_of_row(ledger, found)
    assert refused.value.remedy == "Known: ink."
