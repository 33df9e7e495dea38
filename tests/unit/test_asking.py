"""Paid questions: reserved, charged, kept and never paid twice, on SQLite and on PostgreSQL."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

import pytest

from imagemill.asking import PaidWords, check_room, question_key
from imagemill.cost import Usage
from imagemill.errors import (
    AnswerLost,
    BudgetExceeded,
    ContentBlocked,
    KeyHeld,
    LedgerError,
    RateLimited,
    RunStopped,
)
from imagemill.ledger import Ledger
from imagemill.ledger.database import open_transactions
from imagemill.ledger.holder import holder
from imagemill.ledger.ledger import utc_now
from imagemill.pacing import Pacer
from imagemill.words import Written
from tests.unit.small_workshop import small_workshop

WORST, PRICE = Decimal("0.02"), Decimal("0.001")
DEAD = f"{holder().split(':')[0]}:999999999:1"


class Clock:
    def __init__(self):
        self.now = utc_now()

    def __call__(self):
        return self.now


class ScriptedWords:
    """Answers in turn: text, an error to raise, or something to await first."""

    name = "talker-1"

    def __init__(self, *script):
        self.script = deque(script)
        self.asked = []

    def worst_case_usd(self, prompt, *, pictures=0):
        return WORST

    async def write(self, prompt, *, pictures=(), schema=None):
        self.asked.append(prompt)
        step = self.script.popleft() if self.script else "yes"
        if isinstance(step, BaseException):
            raise step
        if callable(step):
            await step()
            step = "yes"
        used = Usage(prompt_tokens=300, text_tokens=40, thinking_tokens=2)
        return Written(
            text=step, whole=True, finish_reason="STOP", cost_usd=PRICE, usage=used,
            model=self.name,
        )  # fmt: skip

    async def aclose(self):
        """Nothing to close."""


@dataclass
class Talker:
    words: ScriptedWords
    provider: str = "talker"
    pacer: Pacer = field(default_factory=Pacer)
    dearness: Decimal = Decimal(1)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(ledger_url, clock):
    opened = Ledger(open_transactions(ledger_url), clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def open_shop(ledger, tmp_path):
    """Open a run of its own chain, or of another's."""

    async def opened(run_id="run-1", **batch):
        batch.setdefault("prompts", (f"of {run_id}",))
        return await small_workshop(ledger, tmp_path, run_id=run_id, **batch)

    return opened


def paid(shop, *script, kind="judge", words=None, **more) -> PaidWords:
    return PaidWords(shop, Talker(words or ScriptedWords(*script)), kind=kind, **more)


async def test_a_question_is_reserved_charged_and_kept(open_shop, ledger):
    """Booked as what it is, at the tokens it used; the answer and its tokens are read back."""
    shop = await open_shop()
    asker = paid(shop, "nine of ten")
    written = await asker.write("How fine?", pictures=[b"picture"])
    (bill,) = await ledger.bills("run-1")
    assert (written.text, asker.paid_usd, asker.sent) == ("nine of ten", PRICE, True)
    assert (bill.kind, bill.calls, bill.cost_usd) == ("judge", 1, PRICE)
    assert (bill.tokens_in, bill.tokens_out) == (300, 42)
    money = await ledger.money_of("run-1")
    assert (money.spent_usd, money.reserved_usd) == (PRICE, 0)
    assert (await ledger.chain(shop.run.lineage)).spent_usd == PRICE
    assert not shop.unsettled


async def test_a_paid_answer_is_not_paid_again(open_shop, ledger, clock):
    """By its own chain for ever, by others within the window; then it is asked anew and kept anew."""
    words = ScriptedWords("first", "second")
    first = await open_shop()
    await paid(first, words=words).write("How fine?")
    again = paid(first, words=words)
    assert (await again.write("How fine?")).text == "first"
    assert (again.paid_usd, again.sent) == (0, False)
    other = await open_shop("run-2", reuse_within_s=900)
    assert (await paid(other, words=words).write("How fine?")).text == "first"
    clock.now += timedelta(minutes=16)
    assert (await paid(first, words=words).write("How fine?")).text == "first"
    assert (await paid(other, words=words).write("How fine?")).text == "second"
    assert len(words.asked) == 2
    assert await ledger.bills("run-2") == await ledger.bills("run-1")  # one call each


async def test_a_second_opinion_is_another_question(open_shop):
    """`again` asks anew; so does another picture, another kind, another model."""
    shop, words = await open_shop(), ScriptedWords("a", "b", "c", "d")
    said = [
        (await paid(shop, words=words).write("q", pictures=[b"1"])).text,
        (await paid(shop, words=words, again=1).write("q", pictures=[b"1"])).text,
        (await paid(shop, words=words).write("q", pictures=[b"2"])).text,
        (await paid(shop, words=words, kind="refine").write("q", pictures=[b"1"])).text,
        (await paid(shop, words=words).write("q", pictures=[b"1"])).text,
    ]
    assert said == ["a", "b", "c", "d", "a"]


def test_every_part_of_a_question_is_in_its_key():
    """Changing any of them changes the key; words and pictures cannot trade places."""
    plain = {
        "kind": "judge",
        "model": "m",
        "prompt": "p",
        "pictures": [b"x"],
        "shape": "",
        "again": 0,
    }
    changes = [{"kind": "refine"}, {"model": "n"}, {"prompt": "q"}, {"pictures": [b"y"]},
               {"pictures": []}, {"pictures": [b"x", b"x"]}, {"shape": "S"}, {"again": 1}]  # fmt: skip
    keys = {question_key(**{**plain, **change}) for change in [{}, *changes]}
    assert len(keys) == len(changes) + 1
    assert all(len(key) == 64 for key in keys)


async def test_a_lost_answer_is_counted_and_not_asked_again(open_shop, ledger):
    """Its worst case is spent; the same question is refused until it is to be resent."""
    shop, words = await open_shop(), ScriptedWords(AnswerLost("gone"))
    with pytest.raises(AnswerLost):
        await paid(shop, words=words).write("q")
    with pytest.raises(AnswerLost) as caught:
        await paid(shop, words=words).write("q")
    assert caught.value.cost_usd == WORST
    assert len(words.asked) == 1
    assert (await ledger.money_of("run-1")).ambiguous_usd == WORST
    resending = await open_shop("run-1", resend_ambiguous=True)
    assert (await paid(resending, words=words).write("q")).text == "yes"
    assert (await ledger.money_of("run-1")).spent_usd == WORST + PRICE


async def test_a_refused_question_costs_what_it_billed(open_shop, ledger):
    """Blocked: booked as a failure. Slowed down: nothing, and everybody slows down."""
    shop = await open_shop()
    with pytest.raises(ContentBlocked):
        await paid(shop, ContentBlocked("no", cost_usd=PRICE)).write("q")
    talker = Talker(ScriptedWords(RateLimited("slow", retry_after_s=0)))
    with pytest.raises(RateLimited):
        await PaidWords(shop, talker, kind="judge").write("q")
    assert talker.pacer.allowed < 100
    (bill,) = await ledger.bills("run-1")
    assert (bill.kind, bill.cost_usd) == ("failure", PRICE)


async def test_what_nobody_knows_counts_as_spent(open_shop, ledger):
    """An exception of no family, and a cancellation while the question is out."""
    shop = await open_shop()
    with pytest.raises(ZeroDivisionError):
        await paid(shop, ZeroDivisionError()).write("q")
    out = asyncio.Event()

    async def never():
        out.set()
        await asyncio.Event().wait()

    asking = asyncio.create_task(paid(shop, never).write("another"))
    await out.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    money = await ledger.money_of("run-1")
    assert (money.ambiguous_usd, money.reserved_usd) == (2 * WORST, 0)


async def test_a_dead_process_leaves_a_lost_answer(open_shop, ledger):
    """Nobody knows what became of its question: it is counted, and not sent again."""
    dead = await small_shop_of_the_dead(open_shop)
    asker = paid(dead, "never kept")
    await ledger.reserve(asker._ask("q", (), None))
    shop, words = await open_shop("run-1"), ScriptedWords()
    with pytest.raises(AnswerLost):
        await paid(shop, words=words).write("q")
    assert words.asked == []
    assert (await ledger.money_of("run-1")).ambiguous_usd == WORST


async def small_shop_of_the_dead(open_shop):
    shop = await open_shop()
    shop.run = shop.run.model_copy(update={"holder": DEAD})
    return shop


async def test_a_twin_waits_for_the_answer_on_the_wire(open_shop, monkeypatch):
    """Two runs ask the same at once: one pays, the other takes its answer."""
    monkeypatch.setattr("imagemill.asking.HELD_POLL_S", 0.02)
    one, other = await open_shop(), await open_shop("run-2")
    out, come = asyncio.Event(), asyncio.Event()

    async def slowly():
        out.set()
        await come.wait()

    words = ScriptedWords(slowly)
    first = asyncio.create_task(paid(one, words=words).write("q"))
    await out.wait()
    second = asyncio.create_task(paid(other, words=words).write("q"))
    await asyncio.sleep(0)
    come.set()
    assert (await first).text == (await second).text == "yes"
    assert len(words.asked) == 1


async def test_a_twin_does_not_wait_for_ever(open_shop, monkeypatch):
    """After the time an answer may take, the question is still somebody else's."""
    monkeypatch.setattr("imagemill.asking.HELD_FOR_S", -1.0)
    one, other = await open_shop(), await open_shop("run-2")
    out = asyncio.Event()

    async def never():
        out.set()
        await asyncio.Event().wait()

    first = asyncio.create_task(paid(one, never).write("q"))
    await out.wait()
    with pytest.raises(KeyHeld):
        await paid(other).write("q")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_words_keep_to_the_budget(open_shop, ledger):
    """What does not fit is not sent; what was reserved and cost less makes room."""
    shop = await open_shop()
    await ledger.begin_run(shop.run, max_cost_usd=WORST + PRICE)
    out, come = asyncio.Event(), asyncio.Event()

    async def slowly():
        out.set()
        await come.wait()

    first = asyncio.create_task(paid(shop, slowly).write("1"))
    await out.wait()
    second = asyncio.create_task(paid(shop).write("2"))
    await asyncio.sleep(0.05)
    assert not second.done()
    come.set()
    await asyncio.gather(first, second)
    words = ScriptedWords()
    with pytest.raises(BudgetExceeded):
        await paid(shop, words=words).write("3")
    assert words.asked == []
    assert (await ledger.money_of("run-1")).spent_usd == 2 * PRICE


async def test_headroom_is_asked_for_before_what_is_of_no_use_without(open_shop, ledger):
    """A refinement is not bought when the picture after it could not be; a paid one is free."""
    shop, words = await open_shop(), ScriptedWords()
    await ledger.begin_run(shop.run, max_cost_usd=Decimal("0.05"))
    with pytest.raises(BudgetExceeded):
        await paid(shop, words=words, headroom_usd=Decimal("0.04")).write("q")
    assert words.asked == []
    await paid(shop, words=words, headroom_usd=Decimal("0.01")).write("q")
    await paid(shop, words=words, headroom_usd=Decimal("0.04")).write("q")
    assert len(words.asked) == 1
    await check_room(shop, Decimal("0.049"))
    with pytest.raises(BudgetExceeded, match="of the run's budget"):
        await check_room(shop, Decimal("0.0491"))


async def test_a_stopped_run_asks_nothing_and_finds_what_is_paid(open_shop):
    """SIGTERM: no question goes out any more. A used-up budget is the ledger's to say."""
    shop, words = await open_shop(), ScriptedWords("kept")
    await paid(shop, words=words).write("q")
    shop.stopped = RunStopped("Stopped.")
    assert (await paid(shop, words=words).write("q")).text == "kept"
    with pytest.raises(RunStopped):
        await paid(shop, words=words).write("other")
    shop.stopped = BudgetExceeded("Used up.")
    assert (await paid(shop, words=words).write("other")).text == "yes"


async def test_a_bill_above_the_worst_case_stops_the_run(open_shop, ledger):
    """It is written as it is, nothing more is sent than fits, and the next is held at what came."""
    shop = await open_shop()
    await ledger.begin_run(shop.run, max_cost_usd=WORST)

    class Dear(ScriptedWords):
        async def write(self, prompt, **more):
            written = await super().write(prompt, **more)
            return written.model_copy(update={"cost_usd": 3 * WORST})

    talker = Talker(Dear("dear"))
    await PaidWords(shop, talker, kind="judge").write("q")
    assert isinstance(shop.stopped, BudgetExceeded)
    assert (await ledger.money_of("run-1")).spent_usd == 3 * WORST
    assert PaidWords(shop, talker, kind="judge").worst_case_usd("q") == 3 * WORST


async def test_an_answer_that_is_not_there_is_the_ledgers_failure(ledger):
    """Nothing is made up."""
    with pytest.raises(LedgerError, match="cannot be read"):
        await ledger.answer(4711)
