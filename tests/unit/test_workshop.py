"""A run's live parts: found while it is open, beating, and closed by whatever ends it."""

import asyncio
from datetime import timedelta

import pytest

from imagemill import workshop
from imagemill.errors import LedgerError
from imagemill.ledger import open_ledger
from imagemill.workshop import on_progress, opened, workshop_of
from tests.builders import image_result
from tests.unit.small_workshop import small_workshop


@pytest.fixture
async def shop(tmp_path):
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield await small_workshop(ledger, tmp_path / "home", max_concurrent=2)
    ledger.close()


async def state(shop) -> str:
    return (await shop.ledger.run("run-1")).state


async def test_a_workshop_is_found_while_it_is_open(shop):
    """Tasks get their live parts by run id, and a clear word when there is none."""
    async with opened(shop):
        assert workshop_of("run-1") is shop
    with pytest.raises(LedgerError, match="not open in this process"):
        workshop_of("run-1")


@pytest.mark.parametrize(
    ("trouble", "ends_as"), [(ZeroDivisionError, "crashed"), (asyncio.CancelledError, "cancelled")]
)
async def test_whatever_ends_a_run_is_written_down(shop, trouble, ends_as):
    """So that the same batch, asked again, continues it."""
    with pytest.raises(trouble):
        async with opened(shop):
            raise trouble
    assert await state(shop) == ends_as


async def test_the_heart_beats_while_the_run_is_open(shop, monkeypatch):
    """And a ledger that is away for one beat does not end the run."""
    monkeypatch.setattr(workshop, "HEARTBEAT", timedelta(0))
    beats = asyncio.Queue()

    async def beat(run_id):
        await beats.put(run_id)
        raise LedgerError("away")

    shop.ledger.beat = beat
    async with opened(shop):
        assert [await beats.get(), await beats.get()] == ["run-1", "run-1"]


async def test_progress_adds_up_and_is_told_to_whoever_listens(shop):
    """After every image; the listener is the door that started the run."""
    told = []
    token = on_progress.set(told.append)
    try:
        shop.count(image_result())
        shop.count(image_result(index=1, status="reused", reused=True))
        shop.count(image_result(index=2, success=False, status="failed"))
    finally:
        on_progress.reset(token)
    last = told[-1]
    assert (last.total, last.completed, last.succeeded, last.failed, last.reused) == (3, 3, 2, 1, 1)
    assert last.last.index == 2


async def test_the_batchs_clock_runs_from_the_first_request_to_the_last_result(shop):
    """Nothing sent: no time."""
    assert shop.seconds == 0
    shop.sending()
    first = shop.first_sent_at
    shop.sending()
    shop.count(image_result())
    assert shop.first_sent_at == first
    assert shop.seconds == shop.last_stored_at - first >= 0


async def test_places_are_never_more_than_asked_for_nor_less_than_one(shop):
    """A limit across runs may lower them."""
    for places, kept in ((9, 2), (1, 1), (0, 1)):
        shop.lower_to(places)
        assert shop.slots._value == kept
