"""Everybody slows down together, for as long as the provider said, and speeds up little by little."""

import asyncio

import pytest

from imagemill.pacing import FIRST_PAUSE_S, LONGEST_PAUSE_S, Pacer, pacer_of


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


def pacer(clock, ceiling=4):
    return Pacer(ceiling, clock=clock, sleep=clock.sleep)


async def test_nobody_enters_before_retry_after_is_over(clock):
    """The provider's own word counts, for every sender."""
    paced = pacer(clock)
    assert paced.slow_down(7.5) == 7.5
    entered = []

    async def sender():
        async with paced.turn():
            entered.append(clock.now)

    await asyncio.gather(sender(), sender(), sender())
    assert min(entered) == 107.5


async def test_a_longer_pause_is_not_cut_short_by_a_later_shorter_one(clock):
    """Two 429s at once: the longer wait holds."""
    paced = pacer(clock)
    paced.slow_down(30)
    paced.slow_down(1)
    async with paced.turn():
        assert clock.now == 130


def test_without_a_retry_after_pauses_double_to_a_minute_and_start_over_after_a_success(clock):
    """1, 2, 4 … 60, 60 s; one success resets."""
    paced = pacer(clock)
    pauses = [paced.slow_down(None) for _ in range(8)]
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    paced.went_well()
    assert paced.slow_down(None) == FIRST_PAUSE_S


def test_a_refusal_halves_and_successes_give_back_one_by_one(clock):
    """Half at once, then about one place more for as many successes as places; never above the ceiling."""
    paced = pacer(clock, ceiling=8)
    paced.slow_down(0)
    assert paced.allowed == 4
    for _ in range(5):
        paced.went_well()
    assert 5 <= paced.allowed < 5.2
    for _ in range(100):
        paced.went_well()
    assert paced.allowed == 8
    for _ in range(10):
        paced.slow_down(0)
    assert paced.allowed == 1


async def test_never_more_in_flight_than_allowed(clock):
    """Eight senders, two places."""
    paced = pacer(clock, ceiling=2)
    most = 0

    async def sender():
        nonlocal most
        async with paced.turn():
            most = max(most, paced.in_flight)
            await asyncio.sleep(0)

    await asyncio.gather(*(sender() for _ in range(8)))
    assert (most, paced.in_flight) == (2, 0)


async def test_a_place_is_given_back_by_one_who_fails_or_is_cancelled(clock):
    """No place leaks."""
    paced = pacer(clock, ceiling=1)
    with pytest.raises(ZeroDivisionError):
        async with paced.turn():
            raise ZeroDivisionError
    inside = asyncio.Event()

    async def stays():
        async with paced.turn():
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(stays())
    await inside.wait()
    waiting = asyncio.ensure_future(stays())
    await asyncio.sleep(0)
    for one in (waiting, task):
        one.cancel()
    await asyncio.wait([task, waiting])
    async with paced.turn():
        assert paced.in_flight == 1


async def test_runs_of_a_process_share_the_pacer_of_a_model():
    """One 429 slows every run that talks to the same model, and no other."""
    assert pacer_of("gemini", "m", 10) is pacer_of("gemini", "m", 10)
    assert pacer_of("gemini", "m", 10) is not pacer_of("gemini", "n", 10)
    assert pacer_of("gemini", "x", None).ceiling == 100


async def test_a_pacer_with_the_loops_own_clock_lets_through():
    """Without a clock of its own it takes the event loop's."""
    async with Pacer(1).turn():
        pass
