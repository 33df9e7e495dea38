"""Which provider draws an image when the asked one cannot, and that nobody pays for it twice."""

import asyncio

import pytest
from sqlalchemy import select

from imagemill import making
from imagemill.breaker import COOL_DOWN_S, FAILURES_TO_OPEN, CircuitBreaker
from imagemill.errors import (
    AmbiguousOutcome,
    AnswerLost,
    ContentBlocked,
    ImagemillError,
    NoImage,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RequestError,
)
from imagemill.ledger import open_ledger
from imagemill.ledger.schema import reservations
from imagemill.making import make_image
from imagemill.providers.gemini import GeminiProvider
from imagemill.providers.sketch import SketchProvider
from imagemill.results import failure_of
from imagemill.routing import MOST_ATTEMPTS, TRIES_A_ROUTE, route_names
from tests.unit.small_workshop import PRICE, WORST, ScriptedProvider, small_workshop
from tests.unit.test_making import dead_holder
from tests.wire.gemini import FakeGemini


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(ledger_url):
    opened = open_ledger(ledger_url)
    yield opened
    opened.close()


@pytest.fixture
def shop_of(ledger, tmp_path):
    """Open a run whose first provider follows `script`, with `others` to fall back on."""

    async def opened(*script, **more):
        more = {"others": (ScriptedProvider(name="second"),), **more}
        return await small_workshop(ledger, tmp_path / "home", *script, **more)

    return opened


async def drawn(shop, index):
    """Try as the image's task does, without its pauses; returns the result at the end."""
    attempt = 0
    while True:
        attempt += 1
        shop.attempts[index] = attempt
        try:
            return await make_image(shop, index, attempt=attempt)
        except ImagemillError as error:
            if not error.retryable or attempt == MOST_ATTEMPTS:
                return failure_of(shop, index, error, attempts=shop.attempts[index])


async def drawn_all(shop):
    return [await drawn(shop, index) for index in range(len(shop.requests))]


def who(results):
    return [result.provider for result in results]


def calls(shop):
    """How often each provider was asked."""
    return [len(route.provider.calls) for route in shop.routes]


async def states(ledger):
    query = select(reservations.c.provider, reservations.c.state).order_by(reservations.c.id)
    return await ledger._db.run(lambda c: [tuple(row) for row in c.execute(query)])


def away(times):
    return [ProviderUnavailable("503")] * times


@pytest.mark.parametrize(
    "error", [ProviderUnavailable("503"), NoImage("words"), RateLimited("slow", retry_after_s=0)]
)
async def test_an_image_moves_on_when_its_tries_are_used_up(shop_of, error):
    """Three attempts at the asked provider, then the next one, in the same attempt."""
    shop = await shop_of(*[error] * TRIES_A_ROUTE)
    result = await drawn(shop, 0)
    assert (result.status, result.provider, result.model) == ("made", "second", "second-1")
    assert (result.attempts, result.cost_usd) == (TRIES_A_ROUTE, PRICE)
    assert result.key == shop.routes[1].requests[0].key
    assert (await drawn(shop, 1)).provider == "scripted"


async def test_every_route_gets_its_tries_within_an_images_attempts(shop_of):
    """Five attempts: three at the first, three at the second, the last one at all that are left."""
    others = tuple(ScriptedProvider(*away(9), name=name) for name in ("second", "third", "fourth"))
    shop = await shop_of(*away(9), others=others)
    result = await drawn(shop, 0)
    assert (result.status, result.error_class, result.attempts) == ("failed", "unavailable", 5)
    assert calls(shop) == [3, 3, 1, 1]


async def test_an_open_breaker_moves_traffic_and_lets_one_look_after_the_cool_down(shop_of, clock):
    """While it is open the sick provider sees nothing; when it is well again it draws again."""
    first = ScriptedProvider(*away(FAILURES_TO_OPEN + 1), breaker=CircuitBreaker(clock=clock))
    prompts = [f"picture {number}" for number in range(12)]
    shop = await shop_of(provider=first, prompts=prompts)
    assert who([await drawn(shop, index) for index in range(8)]) == ["second"] * 8
    assert len(first.calls) == FAILURES_TO_OPEN
    clock.now += COOL_DOWN_S
    assert who(await asyncio.gather(*(drawn(shop, index) for index in (8, 9)))) == ["second"] * 2
    assert len(first.calls) == FAILURES_TO_OPEN + 1  # one looked
    clock.now += COOL_DOWN_S
    assert who([await drawn(shop, index) for index in (10, 11)]) == ["scripted"] * 2


async def test_the_next_run_of_the_process_knows_who_is_unwell(shop_of, clock):
    """The breaker outlives the run that opened it."""
    first = ScriptedProvider(*away(99), breaker=CircuitBreaker(clock=clock))
    shop = await shop_of(provider=first)
    await drawn_all(shop)
    asked = len(first.calls)
    again = await shop_of(provider=first, run_id="run-2", prompts=["something else"])
    assert who(await drawn_all(again)) == ["second"]
    assert len(first.calls) == asked


async def test_without_anybody_else_an_open_breaker_refuses_nothing(shop_of, clock):
    """A batch without a fallback retries as ever: a breaker chooses, it does not forbid."""
    first = ScriptedProvider(*away(6), breaker=CircuitBreaker(clock=clock))
    shop = await shop_of(provider=first, others=())
    results = await drawn_all(shop)
    assert [result.status for result in results] == ["failed", "made", "made"]


@pytest.mark.parametrize("error", [ProviderMisconfigured("key refused"), QuotaExhausted("spent")])
async def test_a_key_refused_in_mid_run_moves_the_rest(shop_of, error):
    """The image that met it moves at once; nobody asks that provider again in this run."""
    shop = await shop_of(None, error)
    results = await drawn_all(shop)
    assert who(results) == ["scripted", "second", "second"]
    assert [result.attempts for result in results] == [1, 1, 1]
    assert (calls(shop), shop.stopped) == ([2, 2], None)


async def test_when_every_key_is_refused_the_run_stops(shop_of):
    """What was not sent says so."""
    shop = await shop_of(
        QuotaExhausted("spent"),
        others=(ScriptedProvider(ProviderMisconfigured("key refused"), name="second"),),
    )
    results = await drawn_all(shop)
    assert [(r.status, r.error_class) for r in results] == [
        ("failed", "misconfigured"), ("not_started", "misconfigured"), ("not_started", "misconfigured"),
    ]  # fmt: skip
    assert who(results) == ["second", "", ""]
    assert calls(shop) == [1, 1]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AnswerLost("lost"), "ambiguous"),
        (ContentBlocked("refused"), "failed"),
        (RequestError("wrong"), "failed"),
    ],
)
async def test_what_may_be_billed_and_what_was_refused_never_moves_on(shop_of, error, status):
    """A lost answer may be an image that is paid; a refused prompt is not hawked from door to door."""
    shop = await shop_of(error)
    assert (await drawn(shop, 0)).status == status
    assert calls(shop) == [1, 0]


async def test_a_lost_answer_blocks_the_image_at_every_provider(shop_of):
    """A repeated batch whose first provider is out by now still does not pay for it elsewhere."""
    shop = await shop_of(AnswerLost("lost"))
    lost = await drawn(shop, 0)
    again = await shop_of(ProviderMisconfigured("key refused"), run_id="run-2")
    await drawn(again, 1)
    listed = await drawn(again, 0)
    assert (listed.status, listed.key, listed.cost_usd) == ("ambiguous", lost.key, WORST)
    assert calls(again) == [1, 1]
    resent = await shop_of(run_id="run-3", resend_ambiguous=True)
    assert (await drawn(resent, 0)).status == "made"
    assert ("scripted", "resent") in await states(again.ledger)


async def test_a_repeated_batch_reuses_what_the_fallback_drew(shop_of):
    """The asked provider is well again: it is not asked for what is paid already."""
    first = await drawn_all(await shop_of(ProviderMisconfigured("key refused")))
    again = await shop_of(run_id="run-2")
    results = await drawn_all(again)
    assert [result.status for result in results] == ["reused"] * 3
    assert [(r.key, r.sha256, r.provider, r.model) for r in results] == [
        (r.key, r.sha256, "second", "second-1") for r in first
    ]
    assert calls(again) == [0, 0]
    assert (await again.ledger.money_of("run-2")).spent_usd == 0


async def test_the_money_held_is_the_routes_own(shop_of):
    """A dearer fallback holds its own worst case."""
    dear = ScriptedProvider(AnswerLost("lost"), name="second", sizes={"256": 10 * WORST})
    shop = await shop_of(ProviderMisconfigured("key refused"), others=(dear,))
    assert (await drawn(shop, 0)).cost_usd == 10 * WORST
    assert await states(shop.ledger) == [("scripted", "failed"), ("second", "ambiguous")]


async def test_what_a_dead_process_had_out_at_the_fallback_is_settled_by_the_next_run(shop_of):
    """Its answer lies in the spool under the fallback's key: charged, not bought anywhere else."""
    shop = await shop_of(ProviderMisconfigured("key refused"), pid_of=dead_holder)

    class Killed(BaseException):
        """The process ends here."""

    async def killed(*_args):
        raise Killed

    paid, shop.ledger.paid = shop.ledger.paid, killed
    with pytest.raises(Killed):
        await make_image(shop, 0)
    shop.ledger.paid = paid
    again = await shop_of(run_id="run-2")
    result = await drawn(again, 0)
    assert (result.status, result.provider) == ("reused", "second")
    assert calls(again) == [0, 0]


async def test_twin_runs_at_two_providers_pay_once(shop_of, monkeypatch):
    """One run draws at the fallback; its twin, whose first provider is well, waits and shares."""
    monkeypatch.setattr(making, "HELD_POLL_S", 0.01)
    let_go, out = asyncio.Event(), asyncio.Event()

    async def slowly():
        out.set()
        await let_go.wait()

    second = ScriptedProvider(slowly, name="second")
    shop = await shop_of(ProviderMisconfigured("key refused"), others=(second,))
    twin = await shop_of(run_id="run-2", store=shop.store)
    drawing = asyncio.ensure_future(drawn(shop, 0))
    await out.wait()
    waiting = asyncio.ensure_future(drawn(twin, 0))
    reserve, asked = twin.ledger.reserve, asyncio.Event()

    async def seen(ask):
        asked.set()
        return await reserve(ask)

    twin.ledger.reserve = seen
    await asked.wait()
    let_go.set()
    results = [await drawing, await waiting]
    assert [(r.status, r.provider) for r in results] == [("made", "second"), ("reused", "second")]
    assert calls(twin) == [0, 0]


async def test_a_style_locked_batch_is_drawn_by_one_model(shop_of):
    """Once the first image is there, the rest stays with its model, whatever becomes of it."""
    shop = await shop_of(None, *away(99), style_lock=True)
    results = await drawn_all(shop)
    assert [(r.status, r.provider) for r in results] == [
        ("made", "scripted"), ("failed", "scripted"), ("failed", "scripted"),
    ]  # fmt: skip
    assert "style lock" in results[1].error
    assert "scripted/scripted-1" in results[1].error
    assert calls(shop)[1] == 0


async def test_a_style_locked_batch_with_nothing_drawn_yet_moves_as_a_whole(shop_of):
    """Nothing is mixed while nothing is there: the first one able to draw draws them all."""
    shop = await shop_of(ProviderMisconfigured("key refused"), style_lock=True)
    assert who(await drawn_all(shop)) == ["second"] * 3
    assert shop.pinned is shop.routes[1]


@pytest.mark.parametrize("first_fails", [False, True])
async def test_many_at_once_do_not_mix_within_a_style_lock(shop_of, first_fails):
    """Until the first image is there they go one by one; then together, all the same way."""
    script = away(1) if first_fails else []
    prompts = [f"picture {number}" for number in range(12)]
    shop = await shop_of(*script, style_lock=True, prompts=prompts, max_concurrent=8)
    results = await asyncio.gather(*(drawn(shop, index) for index in range(12)))
    assert set(who(results)) == {"scripted"}
    assert all(result.success for result in results)


async def test_once_the_first_image_is_there_a_locked_batch_goes_at_full_width(shop_of):
    """Those that waited for it do not go on one by one: four meet on the wire."""
    meeting = asyncio.Barrier(4)
    shop = await shop_of(
        None, *[meeting.wait] * 4, style_lock=True, prompts=["p"] * 5, max_concurrent=4
    )
    async with asyncio.timeout(20):
        results = await asyncio.gather(*(drawn(shop, index) for index in range(5)))
    assert who(results) == ["scripted"] * 5


async def test_a_locked_batch_whose_only_key_is_revoked_stops_with_a_remedy(shop_of):
    """It does not move, and says what to do."""
    shop = await shop_of(None, ProviderMisconfigured("key refused"), style_lock=True)
    results = await drawn_all(shop)
    assert [r.status for r in results] == ["made", "failed", "not_started"]
    assert all("without the lock" in r.error for r in results[1:])
    assert calls(shop) == [2, 0]


async def test_a_locked_batch_begun_by_an_earlier_run_goes_on_with_its_model(shop_of):
    """The asked provider is well again, and does not draw the one that is missing."""
    second = ScriptedProvider(None, None, RequestError("odd"), name="second")
    shop = await shop_of(ProviderMisconfigured("key"), others=(second,), style_lock=True)
    assert [r.success for r in await drawn_all(shop)] == [True, True, False]
    again = await shop_of(run_id="run-2", style_lock=True)
    results = await drawn_all(again)
    assert [(r.status, r.provider) for r in results] == [
        ("reused", "second"), ("reused", "second"), ("made", "second"),
    ]  # fmt: skip
    assert calls(again) == [0, 1]


async def test_a_locked_batch_does_not_take_another_models_image(shop_of):
    """Paid elsewhere does not help a group that must look alike; its own model draws it."""
    await drawn(await shop_of(ProviderMisconfigured("key")), 0)
    own = await shop_of(run_id="run-2", reuse_within_s=0)
    await drawn_all(own)
    locked = await shop_of(run_id="run-3", style_lock=True)
    results = await drawn_all(locked)
    assert who(results) == ["scripted"] * 3
    assert calls(locked) == [0, 0]


def test_the_list_of_providers_is_checked_before_anything_starts():
    """Known kinds, each once; a model after a colon."""
    assert route_names("gemini", "m", ("gemini/backup:pro", "sketch")) == (
        ("gemini", "m"), ("gemini/backup", "pro"), ("sketch", ""),
    )  # fmt: skip
    for wrong, said in (
        (("dalle",), "no provider 'dalle'"),
        (("sketch", "sketch/default"), "twice"),
    ):
        with pytest.raises(RequestError, match=said):
            route_names("gemini", "", wrong)


async def test_an_ambiguous_outcome_names_the_key_it_is_about():
    """Across a process border, too: errors are pickled."""
    import pickle

    error = pickle.loads(pickle.dumps(AmbiguousOutcome("lost", key="k" * 64)))
    assert error.key == "k" * 64


@pytest.fixture
def two_fakes():
    with FakeGemini() as first, FakeGemini() as second:
        yield first, second


async def test_over_the_wire_a_sick_gemini_is_left_alone_and_looked_at_once(
    two_fakes, shop_of, clock
):
    """Two real providers: while the breaker is open the first one's server sees no request."""
    sick, well = two_fakes
    sick.script(faults=[{"kind": "server_error"}])
    first = GeminiProvider(api_key="k", base_url=sick.url)
    first.breaker = CircuitBreaker(clock=clock)
    backup = GeminiProvider(api_key="b", base_url=well.url, default_model="gemini-3-pro-image")
    backup.route_name = "gemini/backup"
    prompts = [f"a lighthouse number {number}" for number in range(14)]
    shop = await shop_of(provider=first, others=(backup, SketchProvider()), prompts=prompts)
    moved = [await drawn(shop, index) for index in range(10)]
    assert {(r.provider, r.model) for r in moved} == {("gemini/backup", "gemini-3-pro-image")}
    assert (sick.stats.requests, well.stats.images_served) == (FAILURES_TO_OPEN, 10)
    clock.now += COOL_DOWN_S
    await asyncio.gather(*(drawn(shop, index) for index in (10, 11)))
    assert (sick.stats.requests, well.stats.images_served) == (FAILURES_TO_OPEN + 1, 12)
    sick.script(faults=[])
    clock.now += COOL_DOWN_S
    back = [await drawn(shop, index) for index in (12, 13)]
    assert who(back) == ["gemini"] * 2
    assert sick.stats.images_billed + well.stats.images_billed == 14
    await first.aclose()
    await backup.aclose()


async def test_over_the_wire_a_second_account_of_the_same_model_takes_over(two_fakes, shop_of):
    """A key revoked in mid-run: the same model by another key is the same image, paid once."""
    revoked, backup_server = two_fakes
    revoked.script(faults=[{"kind": "key_refused", "first": 2}])
    first = GeminiProvider(api_key="k", base_url=revoked.url)
    backup = GeminiProvider(api_key="b", base_url=backup_server.url)
    backup.route_name = "gemini/backup"
    shop = await shop_of(provider=first, others=(backup,))
    assert who(await drawn_all(shop)) == ["gemini", "gemini/backup", "gemini/backup"]
    assert shop.routes[0].requests[1].key == shop.routes[1].requests[1].key
    again = await shop_of(provider=first, others=(backup,), run_id="run-2")
    assert [r.status for r in await drawn_all(again)] == ["reused"] * 3
    assert (revoked.stats.images_billed, backup_server.stats.images_billed) == (1, 2)
    await first.aclose()
    await backup.aclose()
