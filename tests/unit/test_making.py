"""One image's way past every failure: never paid twice, never lost, never silently unclear."""

import asyncio
import socket
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import select

from imagemill import making
from imagemill.artifact import digest_of
from imagemill.errors import (
    AmbiguousOutcome,
    AnswerLost,
    ArtifactError,
    ContentBlocked,
    LedgerError,
    NoImage,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    StoreUnavailable,
)
from imagemill.ledger import open_ledger
from imagemill.ledger.schema import reservations
from imagemill.making import make_image
from imagemill.results import failure_of
from tests.unit.small_workshop import (
    PRICE,
    WORST,
    MemoryStore,
    ScriptedProvider,
    small_workshop,
    unwritable,
)
from tests.wire.pixels import png


class Killed(BaseException):
    """The process ends here: no handler runs."""


@pytest.fixture
def ledger(tmp_path):
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


@pytest.fixture
def shop_of(ledger, tmp_path):
    """Open a run; takes the provider's script and what the batch should say."""

    async def opened(*script, **more):
        return await small_workshop(ledger, tmp_path / "home", *script, **more)

    return opened


def digest_at(path: str) -> str:
    return digest_of(Path(path).read_bytes())


async def states(shop) -> list[str]:
    """Return the state of every reservation, oldest first."""
    query = select(reservations.c.state).order_by(reservations.c.id)
    return await shop.ledger._db.run(lambda c: list(c.execute(query).scalars()))


def dead_holder():
    """Name a process of this machine that is certainly gone."""
    return f"{socket.gethostname()}:{2**22 + 7}:1"


async def test_paid_bytes_are_spooled_before_they_are_charged_and_charged_before_they_are_stored(
    shop_of,
):
    """At no moment is something paid only in memory, or stored and not charged."""
    order = []
    shop = await shop_of()
    keep, paid, put = shop.spool.keep, shop.ledger.paid, shop.store.put_file

    def kept(*args):
        order.append(("spooled", len(shop.provider.calls)))
        return keep(*args)

    async def charged(reservation_id, payment):
        assert digest_of(next((shop.spool._spool).rglob("*.bin")).read_bytes()) == (
            payment.artifact.digest
        )
        order.append("charged")
        await paid(reservation_id, payment)

    async def stored(ref, path):
        assert (await shop.ledger.money_of("run-1")).spent_usd == PRICE
        order.append("stored")
        return await put(ref, path)

    shop.spool.keep, shop.ledger.paid, shop.store.put_file = kept, charged, stored
    result = await make_image(shop, 0)
    assert order == [("spooled", 1), "charged", "stored"]
    assert (result.status, result.cost_usd, result.attempts) == ("made", PRICE, 1)
    assert shop.store.objects[f"{result.sha256[:2]}/{result.sha256}.png"]
    assert await shop.ledger.items("run-1") == [result]
    assert not list(shop.spool._spool.rglob("*.*in*"))  # nothing lies about


async def test_a_failed_upload_is_not_paid_again(shop_of):
    """The upload is repeated; the provider is asked once, and the price is counted once."""
    shop = await shop_of()
    shop.store.failures.extend([StoreUnavailable("away"), StoreUnavailable("away")])
    for attempt in (1, 2):
        with pytest.raises(StoreUnavailable):
            await make_image(shop, 0, attempt=attempt)
    result = await make_image(shop, 0, attempt=3)
    assert (result.status, result.attempts, result.cost_usd) == ("made", 3, PRICE)
    assert (len(shop.provider.calls), shop.store.uploads) == (1, 3)
    assert (await shop.ledger.money_of("run-1")).spent_usd == PRICE


async def test_a_lost_answer_is_ambiguous_and_never_resent_by_itself(shop_of):
    """It may have been billed: counted as spent at its worst price, in this run and the next."""
    shop = await shop_of(AnswerLost("lost"))
    with pytest.raises(AnswerLost) as lost:
        await make_image(shop, 0)
    assert (lost.value.retryable, lost.value.cost_usd) == (False, WORST)
    listed = failure_of(shop, 0, lost.value, attempts=1)
    assert (listed.status, listed.cost_usd) == ("ambiguous", WORST)
    again = await shop_of(run_id="run-2")
    with pytest.raises(AmbiguousOutcome, match="--resend-ambiguous") as refused:
        await make_image(again, 0)
    assert failure_of(again, 0, refused.value, attempts=1).status == "ambiguous"
    assert again.provider.calls == []
    assert (await shop.ledger.money_of("run-1")).spent_usd == WORST
    assert (await shop.ledger.money_of("run-2")).spent_usd == 0


async def test_an_ambiguous_image_is_resent_on_request(shop_of):
    """The asker decides; both the lost answer and the new one are counted."""
    shop = await shop_of(AnswerLost("lost"))
    with pytest.raises(AnswerLost):
        await make_image(shop, 0)
    again = await shop_of(run_id="run-2", resend_ambiguous=True)
    assert (await make_image(again, 0)).status == "made"
    assert await states(again) == ["resent", "charged"]


async def test_a_rate_limit_pauses_everybody_and_costs_nothing(shop_of):
    """The pacer gets the provider's own word; the reservation is given back."""
    shop = await shop_of(RateLimited("slow down", retry_after_s=7))
    waits = []

    async def wait(seconds):
        waits.append(round(seconds))
        shop.pacer._paused_until = 0

    shop.pacer._sleep = wait
    with pytest.raises(RateLimited):
        await make_image(shop, 0)
    assert (await shop.ledger.money_of("run-1")).spent_usd == 0
    await make_image(shop, 1)
    assert waits == [7]


@pytest.mark.parametrize("error", [ProviderMisconfigured("key refused"), QuotaExhausted("spent")])
async def test_a_refused_key_stops_the_run(shop_of, error):
    """Nothing more is sent; what was not sent says so."""
    shop = await shop_of(error)
    for index in (0, 1):
        shop.attempts[index] = 1
        with pytest.raises(type(error)) as refused:
            await make_image(shop, index)
        status = failure_of(shop, index, refused.value, attempts=shop.attempts[index]).status
        assert status == ("failed", "not_started")[index]
    assert len(shop.provider.calls) == 1
    assert (await shop.ledger.money_of("run-1")).spent_usd == 0


async def test_words_of_a_refused_prompt_are_charged(shop_of):
    """A blocked or empty answer is billed for its words; the rest of the reservation is free."""
    shop = await shop_of(
        ContentBlocked("no", cost_usd=Decimal("0.002")), NoImage("words", cost_usd=Decimal("0.001"))
    )
    for index, kind in enumerate((ContentBlocked, NoImage)):
        with pytest.raises(kind):
            await make_image(shop, index)
    money = await shop.ledger.money_of("run-1")
    assert (money.spent_usd, money.reserved_usd) == (Decimal("0.003"), 0)


async def test_what_was_refused_unbilled_can_be_asked_again(shop_of):
    """A 503 leaves the key free for the next attempt."""
    shop = await shop_of(ProviderUnavailable("503"))
    with pytest.raises(ProviderUnavailable) as away:
        await make_image(shop, 0)
    assert away.value.retryable
    assert (await make_image(shop, 0, attempt=2)).attempts == 2
    assert (await shop.ledger.money_of("run-1")).spent_usd == PRICE


async def test_cancelled_on_the_wire_is_ambiguous(shop_of):
    """Nobody can say that a request already sent is not billed."""
    sent = asyncio.Event()

    async def hang():
        sent.set()
        await asyncio.Event().wait()

    shop = await shop_of(hang)
    task = asyncio.ensure_future(make_image(shop, 0))
    await sent.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await states(shop) == ["ambiguous"]


async def test_cancelled_before_the_wire_costs_nothing(shop_of, monkeypatch):
    """Money that the ledger was just granting is given back: nothing was sent."""
    shop = await shop_of()
    reserve = shop.ledger.reserve
    asked = asyncio.Event()

    async def slowly(ask):
        asked.set()
        await asyncio.sleep(0)
        return await reserve(ask)

    shop.ledger.reserve = slowly
    task = asyncio.ensure_future(make_image(shop, 0))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await states(shop), shop.provider.calls) == (["released"], [])


async def test_cancelled_with_the_answer_in_hand_is_charged_and_kept(shop_of):
    """What came is kept; the next run delivers it for nothing."""
    shop = await shop_of()
    here = asyncio.Event()
    loop = asyncio.get_running_loop()
    keep = shop.spool.keep

    def slowly(*args):
        loop.call_soon_threadsafe(here.set)
        return keep(*args)

    shop.spool.keep = slowly
    task = asyncio.ensure_future(make_image(shop, 0))
    await here.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await states(shop) == ["charged"]
    again = await shop_of(run_id="run-2")
    assert (await make_image(again, 0)).status == "reused"
    assert again.provider.calls == []


async def test_an_answer_that_a_dead_process_left_is_charged_not_bought_again(shop_of):
    """Killed between spool and charge: the next run writes the charge and uploads."""
    shop = await shop_of(pid_of=dead_holder)

    async def killed(*_args):
        raise Killed

    paid, shop.ledger.paid = shop.ledger.paid, killed
    with pytest.raises(Killed):
        await make_image(shop, 0)
    shop.ledger.paid = paid
    assert await states(shop) == ["open"]
    again = await shop_of(run_id="run-2")
    result = await make_image(again, 0)
    assert (result.status, result.cost_usd) == ("reused", PRICE)
    assert again.provider.calls == []
    assert result.sha256 in next(iter(again.store.objects))
    assert (await again.ledger.money_of("run-1")).spent_usd == PRICE


async def test_killed_between_charge_and_shelf_the_picture_is_found(shop_of):
    """The charge is written and the picture still lies in the spool: it is delivered from there."""
    shop = await shop_of(pid_of=dead_holder)

    def killed(_spooled):
        raise Killed

    shop.spool.shelve = killed
    with pytest.raises(Killed):
        await make_image(shop, 0)
    assert await states(shop) == ["charged"]
    again = await shop_of(run_id="run-2")
    result = await make_image(again, 0)
    assert (result.status, again.provider.calls) == ("reused", [])
    assert digest_at(result.local_path) == result.sha256


async def test_what_a_dead_process_had_on_the_wire_is_ambiguous(shop_of):
    """Nothing in the spool: it may have been billed, so it is listed with its price."""

    async def killed():
        raise Killed

    shop = await shop_of(killed, pid_of=dead_holder)
    with pytest.raises(Killed):
        await make_image(shop, 0)
    again = await shop_of(run_id="run-2")
    with pytest.raises(AmbiguousOutcome) as listed:
        await make_image(again, 0)
    assert (listed.value.cost_usd, again.provider.calls) == (WORST, [])


async def test_two_runs_that_settle_the_same_orphan_agree(shop_of, ledger, tmp_path):
    """Both started again after a crash: one writes the charge, both deliver, nobody pays."""
    shop = await shop_of(pid_of=dead_holder)

    async def killed(*_args):
        raise Killed

    paid, shop.ledger.paid = shop.ledger.paid, killed
    with pytest.raises(Killed):
        await make_image(shop, 0)
    shop.ledger.paid = paid
    twins = [await shop_of(run_id=f"run-{n}") for n in (2, 3)]
    results = await asyncio.gather(*(make_image(twin, 0) for twin in twins))
    assert [result.status for result in results] == ["reused", "reused"]
    assert [twin.provider.calls for twin in twins] == [[], []]


async def test_twin_runs_share_one_payment(shop_of, monkeypatch):
    """The second waits for the first one's image, and saves its price."""
    monkeypatch.setattr(making, "HELD_POLL_S", 0.01)
    twin_came = asyncio.Event()
    provider = ScriptedProvider(twin_came.wait)
    store = MemoryStore()
    first = await shop_of(provider=provider, store=store)
    second = await shop_of(provider=provider, store=store, run_id="run-2")
    reserve = second.ledger.reserve

    async def seen(ask):
        if ask.run_id == "run-2":
            asyncio.get_running_loop().call_later(0.03, twin_came.set)
        return await reserve(ask)

    second.ledger.reserve = seen
    sent, first.sending = asyncio.Event(), lambda: sent.set()
    making_first = asyncio.ensure_future(make_image(first, 0))
    await sent.wait()
    results = await asyncio.gather(making_first, make_image(second, 0))
    assert [result.status for result in results] == ["made", "reused"]
    assert results[0].sha256 == results[1].sha256
    assert (len(provider.calls), len(store.objects)) == (1, 1)


async def test_a_truncated_picture_is_an_answer_lost(shop_of):
    """It was billed for certain and is worth nothing: ambiguous, not stored, not bought again."""
    shop = await shop_of(png(b"cut", width_px=64, height_px=64)[:-30])
    with pytest.raises(AnswerLost, match="broken"):
        await make_image(shop, 0)
    assert (await states(shop), shop.store.objects) == (["ambiguous"], {})
    assert list(shop.spool._spool.rglob("*.bin")) == []


async def test_a_full_disk_stops_the_run_before_more_is_paid_for_nothing(shop_of):
    """The one picture that came is listed with its price; nothing more is sent; the cause is named."""
    shop = await shop_of()
    folder = shop.spool._spool / shop.requests[0].key[:2]
    with unwritable(folder):
        with pytest.raises(AnswerLost, match="cannot be written") as lost:
            await make_image(shop, 0)
        with pytest.raises(ArtifactError, match="IMAGEMILL_HOME"):
            await make_image(shop, 1)
    assert failure_of(shop, 0, lost.value, attempts=1).status == "ambiguous"
    assert (await states(shop), len(shop.provider.calls)) == (["ambiguous"], 1)
    assert (await shop.ledger.money_of("run-1")).spent_usd == WORST


async def test_a_ledger_that_fails_at_the_charge_forgets_nothing(shop_of):
    """The answer lies in the spool and its reservation stays open: a later run charges it."""
    shop = await shop_of(pid_of=dead_holder)
    paid = shop.ledger.paid

    async def refused(*_args):
        raise LedgerError("the database is away")

    shop.ledger.paid = refused
    with pytest.raises(LedgerError):
        await make_image(shop, 0)
    shop.ledger.paid = paid
    assert await states(shop) == ["open"]
    again = await shop_of(run_id="run-2")
    assert (await make_image(again, 0)).status == "reused"
    assert again.provider.calls == []


async def test_an_unexpected_error_counts_as_spent(shop_of):
    """A bug in an adapter says nothing about the bill; its words are not shown, its type is."""
    shop = await shop_of(ZeroDivisionError("a red fox"))
    with pytest.raises(ZeroDivisionError) as bug:
        await make_image(shop, 0)
    assert await states(shop) == ["ambiguous"]
    listed = failure_of(shop, 0, bug.value, attempts=1)
    assert "ZeroDivisionError" in listed.error
    assert "fox" not in listed.error


async def test_an_emptied_bucket_is_filled_again_for_nothing(shop_of):
    """A later run looks whether the image still lies there, and uploads it from this machine."""
    shop = await shop_of()
    made = await make_image(shop, 0)
    shop.store.objects.clear()
    again = await shop_of(run_id="run-2", store=shop.store)
    assert (await make_image(again, 0)).sha256 == made.sha256
    assert len(shop.store.objects) == 1
    assert again.provider.calls == []


async def test_a_machine_without_the_file_fetches_it_from_the_store(shop_of):
    """Another machine made it: the bytes come back and lie here, too."""
    shop = await shop_of()
    made = await make_image(shop, 0)
    for file in shop.spool._images.rglob("*.png"):
        file.unlink()
    again = await shop_of(run_id="run-2", store=shop.store)
    result = await make_image(again, 0)
    assert result.local_path == made.local_path
    assert digest_at(result.local_path) == made.sha256


async def test_the_output_folder_gets_readable_names(shop_of, tmp_path):
    """Number in input order and the start of the digest; started again, the same names."""
    out = tmp_path / "out"
    shop = await shop_of(output_dir=out)
    for index in (2, 0):
        result = await make_image(shop, index)
        assert result.local_path == str(out / f"{index + 1:04}-{result.sha256[:12]}.png")
    await make_image(shop, 0, attempt=2)
    assert len(list(out.iterdir())) == 2


async def test_an_image_that_was_never_started_says_so(shop_of):
    """Nothing was sent, nothing was billed."""
    shop = await shop_of()
    listed = failure_of(shop, 1, ProviderMisconfigured("no key", remedy="Set it."), attempts=0)
    assert (listed.status, listed.cost_usd) == ("not_started", 0)
    assert listed.error == "no key Set it."


async def test_what_another_machine_paid_and_has_not_uploaded_is_waited_for(shop_of):
    """Paid elsewhere and not in the store yet: asked again later, never paid a second time."""
    shop = await shop_of()
    await make_image(shop, 0)
    for file in shop.spool._images.rglob("*.png"):
        file.unlink()
    shop.store.objects.clear()
    again = await shop_of(run_id="run-2", store=shop.store)
    with pytest.raises(StoreUnavailable, match="not in the store yet") as caught:
        await make_image(again, 0)
    assert caught.value.retryable
    assert again.provider.calls == []
