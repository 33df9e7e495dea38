"""Open questions about money get an answer, once, on SQLite and PostgreSQL; the dead hold nothing."""

from datetime import timedelta
from decimal import Decimal

import pytest

from imagemill.artifact import ArtifactRef, digest_of
from imagemill.errors import AmbiguousOutcome, BudgetExceeded, LedgerError
from imagemill.ledger import Granted, Ledger, accounts
from imagemill.ledger.database import open_transactions
from imagemill.ledger.holder import holder
from imagemill.ledger.values import Payment
from imagemill.orphans import look_for_answers, settle_orphan
from imagemill.spool import Spool
from tests.builders import ask, payment
from tests.unit.test_delivering import Clock
from tests.unit.test_ledger import PRICE, run_row

KEYS = [f"{number:x}" * 64 for number in range(10)]


def dead_holder():
    """The name of a process of this machine that is gone."""
    host, pid, _ = holder().rsplit(":", 2)
    return f"{host}:{pid}:1"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(ledger_url, clock):
    opened = Ledger(open_transactions(ledger_url), clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "home")


async def lost(ledger, number=0, **changes):
    """One image whose answer was lost; returns its reservation id."""
    granted = await ledger.reserve(ask(key=KEYS[number], **changes))
    await ledger.ambiguous(granted.reservation_id, error_class="answer_lost")
    return granted.reservation_id


async def ids(ledger, run_id=None):
    return [question.reservation_id for question in await ledger.open_questions(run_id)]


async def test_every_ambiguous_image_is_listed_with_its_price_and_when(ledger, clock):
    """Key, run, provider, model, amount, class and time; failed and paid ones are no question."""
    first = await lost(ledger, 0)
    clock.pass_s(60)
    second = await lost(ledger, 1, run_id="run-2", lineage="run-2")
    paid = await ledger.reserve(ask(key=KEYS[2]))
    await ledger.paid(paid.reservation_id, payment())
    failed = await ledger.reserve(ask(key=KEYS[3]))
    await ledger.failed(failed.reservation_id, error_class="blocked")
    assert await ids(ledger) == [first, second]
    (question,) = await ledger.open_questions("run-2")
    assert (question.key, question.run_id, question.provider) == (KEYS[1], "run-2", "gemini")
    assert (question.reserved_usd, question.error_class) == (PRICE, "answer_lost")
    assert question.since == clock()


async def test_what_was_not_billed_is_given_back_and_the_image_is_sent_anew(ledger):
    """The run's spend falls by the reservation; asking again needs no --resend-ambiguous."""
    number = await lost(ledger)
    assert (await ledger.money_of("run-1")).spent_usd == PRICE
    with pytest.raises(AmbiguousOutcome):
        await ledger.reserve(ask(key=KEYS[0]))
    done = await ledger.settle(number, billed=False)
    assert (done.refund_usd, done.reserved_usd) == (PRICE, PRICE)
    money = await ledger.money_of("run-1")
    assert (money.spent_usd, money.ambiguous_usd) == (0, 0)
    assert isinstance(await ledger.reserve(ask(key=KEYS[0])), Granted)


async def test_what_was_billed_stays_spent_and_the_image_is_sent_anew(ledger):
    """A person said so: the question is closed, a new request is a new payment."""
    number = await lost(ledger)
    done = await ledger.settle(number, billed=True)
    assert done.refund_usd == 0
    money = await ledger.money_of("run-1")
    assert (money.spent_usd, money.ambiguous_usd) == (PRICE, 0)
    assert await ids(ledger) == []
    again = await ledger.reserve(ask(key=KEYS[0]))
    await ledger.paid(again.reservation_id, payment(cost_usd=PRICE))
    assert (await ledger.money_of("run-1")).spent_usd == 2 * PRICE


async def test_money_given_back_is_room_below_the_ceilings_again(ledger, clock):
    """A chain of runs and a day that were full because of a lost answer can send once more."""
    await ledger.set_ceiling(PRICE)
    await ledger.begin_run(run_row(clock), max_cost_usd=PRICE)
    number = await lost(ledger)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(ask(key=KEYS[1]))
    await ledger.settle(number, billed=False)
    assert isinstance(await ledger.reserve(ask(key=KEYS[1])), Granted)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(ask(key=KEYS[2]))


@pytest.mark.parametrize("billed", [True, False])
async def test_settling_twice_changes_nothing_and_says_what_was_decided(ledger, billed):
    """Whatever is said the second time, the money stays where the first answer put it."""
    number = await lost(ledger)
    await ledger.settle(number, billed=billed)
    before = await ledger.money_of("run-1")
    word = r"as billed \(\$0\.0336\)" if billed else "as not billed"
    for verdict in (True, False):
        with pytest.raises(LedgerError, match=rf"settled before, {word}.*Nothing was changed"):
            await ledger.settle(number, billed=verdict)
    assert await ledger.money_of("run-1") == before


async def test_only_open_questions_can_be_settled(ledger):
    """Unknown, on the wire, charged, sent again: each is refused with what it is."""
    with pytest.raises(LedgerError, match="There is no reservation 99999"):
        await ledger.settle(99999, billed=False)
    held = await ledger.reserve(ask(key=KEYS[0]))
    with pytest.raises(LedgerError, match="on the wire"):
        await ledger.settle(held.reservation_id, billed=False)
    await ledger.paid(held.reservation_id, payment())
    with pytest.raises(LedgerError, match=r"is charged \(\$0\.03\)"):
        await ledger.settle(held.reservation_id, billed=False)
    number = await lost(ledger, 1)
    await ledger.reserve(ask(key=KEYS[1], resend_ambiguous=True))
    with pytest.raises(LedgerError, match="sent again on request"):
        await ledger.settle(number, billed=False)
    failed = await ledger.reserve(ask(key=KEYS[2]))
    await ledger.failed(failed.reservation_id, error_class="blocked")
    with pytest.raises(LedgerError, match="is failed"):
        await ledger.settle(failed.reservation_id, billed=False)
    assert (await ledger.money_of("run-1")).spent_usd == Decimal("0.03") + PRICE


def spooled(spool, key, reservation_id, data=b"a whole picture"):
    artifact = ArtifactRef(digest=digest_of(data), size_bytes=len(data), width_px=8, height_px=8)
    paid = Payment(artifact=artifact, cost_usd=Decimal("0.02"))
    return spool.keep(key, reservation_id, data, paid)


async def test_an_answer_that_lies_in_the_spool_is_charged_at_what_it_cost(ledger, spool):
    """Where looking is possible nobody is asked: the difference to the reservation comes back."""
    here, torn, elsewhere = [await lost(ledger, number) for number in range(3)]
    spooled(spool, KEYS[0], here)
    spooled(spool, KEYS[1], torn, b"another one").path.write_bytes(b"ano")
    questions = await ledger.open_questions()
    found = await look_for_answers(ledger, spool, questions)
    assert {number: paid.cost_usd for number, paid in found.items()} == {here: Decimal("0.02")}
    assert spool.image_path(found[here].artifact).is_file()
    assert await ids(ledger) == [torn, elsewhere]
    assert (await ledger.money_of("run-1")).spent_usd == Decimal("0.02") + 2 * PRICE
    assert await look_for_answers(ledger, spool, questions) == {}


async def test_a_picture_in_hand_is_believed_before_a_person(ledger, spool):
    """It was settled as not billed meanwhile; the answer that lies there says otherwise."""
    number = await lost(ledger)
    questions = await ledger.open_questions()
    spooled(spool, KEYS[0], number)
    await ledger.settle(number, billed=False)
    assert list(await look_for_answers(ledger, spool, questions)) == [number]
    assert (await ledger.money_of("run-1")).spent_usd == Decimal("0.02")


async def test_what_dead_and_silent_processes_hold_open_is_found(ledger, clock):
    """A dead process of this machine at once, a silent one after its lease; a live one never."""
    await ledger.begin_run(run_row(clock))
    for number, held_by in enumerate((holder(), dead_holder(), "elsewhere:1:1")):
        await ledger.reserve(ask(key=KEYS[number], holder=held_by, run_id=f"run-{number + 1}"))
    assert [left.key for left in await ledger.left_open()] == [KEYS[1]]
    clock.pass_s(31)
    await ledger.beat("run-1")
    assert [left.key for left in await ledger.left_open()] == [KEYS[1], KEYS[2]]


@pytest.mark.parametrize(
    ("in_spool", "embedded", "outcome", "spent"),
    [
        (True, False, "charged", Decimal("0.02")),
        (False, False, "ambiguous", PRICE),
        (False, True, "failed", Decimal(0)),
    ],
)
async def test_an_orphan_is_charged_from_the_spool_or_counted_or_free(
    ledger, spool, in_spool, embedded, outcome, spent
):
    """The same way whoever finds it: a later run, or the doctor."""
    number = (await ledger.reserve(ask(key=KEYS[0], holder=dead_holder()))).reservation_id
    if in_spool:
        spooled(spool, KEYS[0], number)
    orphan = {"key": KEYS[0], "reservation_id": number, "embedded": embedded}
    assert await settle_orphan(ledger, spool, **orphan) == outcome
    assert (await ledger.money_of("run-1")).spent_usd == spent
    assert await ledger.left_open() == []
    if outcome != "ambiguous":
        assert await settle_orphan(ledger, spool, **orphan) == "elsewhere"


async def test_runs_with_nobody_there_are_found_and_marked_crashed(ledger, clock):
    """A run that shows life between the look and the mark goes on."""
    held_by = {"alive": holder(), "dead": dead_holder(), "silent": "elsewhere:1:1"}
    for run_id, name in held_by.items():
        row = run_row(clock, id=run_id, lineage=run_id, batch_digest=run_id, holder=name)
        await ledger.begin_run(row)
    assert [run.id for run in await ledger.left_running()] == ["dead"]
    assert {run.id for run in await ledger.living_runs()} == {"alive", "silent"}
    clock.pass_s(61)
    await ledger.beat("alive")
    dead, silent = sorted(await ledger.left_running(), key=lambda run: run.id)
    assert (dead.id, silent.id) == ("dead", "silent")
    await ledger.beat("silent")
    assert await ledger.give_up_run(dead)
    assert not await ledger.give_up_run(silent)
    assert not await ledger.give_up_run(dead)
    run = await ledger.run("dead")
    assert (run.state, run.ended_at) == ("crashed", clock())
    assert [event["type"] for event in await ledger.events("dead")] == ["crashed"]
    clock.pass_s(timedelta(hours=1).total_seconds())
    again = await ledger.begin_run(
        run_row(clock, id="next", lineage="next", batch_digest="dead", holder=holder())
    )
    assert again.lineage == "dead"


@pytest.mark.parametrize("billed", [True, False])
async def test_an_answer_that_comes_after_it_was_settled_is_the_truth(ledger, billed):
    """A process that was taken for dead comes back with the picture: it is charged what it cost."""
    granted = await ledger.reserve(ask())
    await ledger.ambiguous(granted.reservation_id, error_class="crashed")
    await ledger.settle(granted.reservation_id, billed=billed)
    await ledger.paid(granted.reservation_id, payment())
    assert (await ledger.money_of("run-1")).spent_usd == payment().cost_usd
    chain = await ledger._db.run(lambda c: accounts.find(c, "chain:run-1"))
    assert chain.spent_usd == payment().cost_usd
