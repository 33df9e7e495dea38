"""A provider that bills above what is held for it passes a ceiling by one such difference, no more."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest

from imagemill.errors import AnswerLost, BudgetExceeded, ProviderUnavailable
from imagemill.ledger import Ledger
from imagemill.ledger.bills import PROVEN_FOR
from imagemill.ledger.database import open_transactions
from imagemill.making import make_image
from tests.unit.small_workshop import PRICE, WORST, ScriptedProvider, small_workshop
from tests.unit.test_delivering import Clock

DEAR = Decimal("0.60")


class BusyProvider(ScriptedProvider):
    """Waits a moment for `company` before it answers; counts what it bills, as a server does."""

    def __init__(self, *script, bills=(), company=3, patience_s=0.1, **more):
        super().__init__(*script, bills=bills, **more)
        self.company, self.patience_s, self.together = company, patience_s, asyncio.Event()
        self.billed, self.in_flight, self.most_in_flight = Decimal(0), 0, 0

    async def generate(self, request, references=()):
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.in_flight == self.company:
            self.together.set()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.together.wait(), self.patience_s)
            answer = await super().generate(request, references)
        finally:
            self.in_flight -= 1
        self.billed += answer.cost_usd
        return answer


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(ledger_url, clock):
    opened = Ledger(open_transactions(ledger_url), clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def shop_of(ledger, tmp_path):
    """Open a run of 30 images, new words each, unless told otherwise."""

    async def opened(provider, *, run_id="run-1", images=30, **batch):
        prompts = tuple(f"fox {number} of {run_id}" for number in range(images))
        return await small_workshop(
            ledger, tmp_path / "home", run_id=run_id, provider=provider,
            **{"prompts": prompts, "max_concurrent": 3, **batch},
        )  # fmt: skip

    return opened


async def made(shop) -> list[object]:
    """Make all images at once, as a run does; what failed is in its place."""
    images = (make_image(shop, index) for index in range(len(shop.requests)))
    return await asyncio.gather(*images, return_exceptions=True)


def refused(found) -> set[type]:
    return {type(each) for each in found if isinstance(each, BaseException)}


@pytest.mark.parametrize("at_once", [3, 20])
async def test_a_provider_that_is_dear_from_the_start_is_paid_once(shop_of, at_once):
    """Nobody knows its bills: the first image goes alone, and the run stops at what that cost."""
    provider = BusyProvider(bills=[DEAR] * 30)
    shop = await shop_of(provider, max_concurrent=at_once, max_cost_usd=Decimal("0.20"))
    found = await made(shop)
    assert provider.billed == DEAR <= Decimal("0.20") + DEAR - WORST
    assert refused(found) == {BudgetExceeded}
    told = str(shop.stopped)
    assert "$0.60" in told
    assert "$0.05 was held" in told
    assert "spent" not in told  # a sum would be old before somebody reads it


@pytest.mark.parametrize("at_once", [3, 20])
async def test_where_there_is_room_the_next_ones_are_held_at_the_bill(shop_of, at_once):
    """So the ceiling is not passed at all; the second bears the bill out, then they go together."""
    provider = BusyProvider(bills=[DEAR] * 30, company=2, patience_s=1)
    shop = await shop_of(provider, max_concurrent=at_once, max_cost_usd=Decimal("2.50"))
    found = await made(shop)
    assert provider.billed == 4 * DEAR
    assert provider.most_in_flight == 2
    assert "billed more than its price in the catalog" in str(found[-1])


async def test_one_dear_bill_among_many_passes_the_ceiling_by_its_own_difference(shop_of):
    """It is known before its answer is kept, so nothing that goes out after it is held too low."""
    provider = BusyProvider(bills=[PRICE] * 6 + [DEAR])
    shop = await shop_of(provider, max_cost_usd=Decimal("0.50"))
    await made(shop)
    assert DEAR < provider.billed <= Decimal("0.50") + DEAR - WORST


async def test_after_a_bill_above_what_was_held_the_next_one_goes_alone(shop_of):
    """Two surprises in a row are two steps, and each is booked before the next image is asked for."""
    provider = BusyProvider(bills=[PRICE, DEAR, *[2 * DEAR] * 30])
    shop = await shop_of(provider, max_concurrent=1, max_cost_usd=Decimal("1.30"))
    await made(shop)
    assert provider.billed == PRICE + DEAR + 2 * DEAR
    assert provider.billed <= Decimal("1.30") + DEAR


@pytest.mark.parametrize("first", [ProviderUnavailable("away"), AnswerLost("lost")])
async def test_a_first_image_that_has_no_bill_leaves_it_to_the_next_one(shop_of, first):
    """It was refused, or its answer lost: still nobody knows, and still nobody else is beside it."""
    provider = BusyProvider(first, bills=[DEAR] * 30)
    shop = await shop_of(provider, max_concurrent=20, max_cost_usd=Decimal("0.20"))
    await made(shop)
    assert provider.billed == DEAR
    assert len(provider.calls) == 2


async def test_without_a_ceiling_all_go_at_once(shop_of):
    """There is nothing to protect, so nothing is waited for."""
    provider = BusyProvider(company=20, patience_s=10)
    await made(await shop_of(provider, max_concurrent=20))
    assert provider.most_in_flight == 20


@pytest.mark.parametrize("ceiling", ["run", "day", "deployment"])
async def test_bills_of_the_last_day_speak_for_the_next_run(shop_of, ledger, clock, ceiling):
    """Whatever ceiling holds, somebody whose bill is known need not go alone; a day later, again."""
    provider = BusyProvider()
    cap = {"max_cost_usd": Decimal(5)} if ceiling == "run" else {}
    if ceiling != "run":
        await ledger.set_ceiling(Decimal(5), deployment="" if ceiling == "day" else "nightly")
    deployment = "nightly" if ceiling == "deployment" else ""
    first = await shop_of(provider, deployment=deployment, **cap)
    assert first.goes_alone(first.routes[0])
    await made(first)
    second = await shop_of(provider, run_id="run-2", deployment=deployment, **cap)
    assert not second.goes_alone(second.routes[0])
    clock.now += PROVEN_FOR + timedelta(minutes=1)
    third = await shop_of(provider, run_id="run-3", deployment=deployment, **cap)
    assert third.goes_alone(third.routes[0])


async def test_a_dear_bill_is_remembered_by_the_next_run_and_forgotten_with_the_price(shop_of):
    """What was billed is held; once the catalog says another price, that one is believed."""
    cap = {"max_cost_usd": Decimal("0.20")}
    await made(await shop_of(BusyProvider(bills=[DEAR]), **cap))
    again = BusyProvider(bills=[DEAR] * 30)
    found = await made(await shop_of(again, run_id="run-2", **cap))
    assert again.calls == []
    assert "$0.6" in str(found[0])
    corrected = BusyProvider(bills=[DEAR] * 30, sizes={"256": DEAR})
    shop = await shop_of(corrected, run_id="run-3", max_cost_usd=Decimal("1.30"))
    assert shop.routes[0].worst_case_usd(0) == DEAR
    await made(shop)
    assert corrected.billed == 2 * DEAR


async def test_what_costs_nothing_needs_no_proof(shop_of):
    """Drawings of this machine go at once under any ceiling."""
    provider = BusyProvider(bills=[Decimal(0)] * 30, sizes={"256": Decimal(0)}, embedded=True)
    await made(await shop_of(provider, max_cost_usd=Decimal("0.20")))
    assert provider.most_in_flight == 3
