"""A provider that is unwell is left alone, looked at once in a while, and asked again when well."""

import pytest

from imagemill.breaker import COOL_DOWN_S, FAILURES_TO_OPEN, CircuitBreaker, breaker_of
from imagemill.errors import (
    AnswerLost,
    ContentBlocked,
    NoImage,
    ProviderMisconfigured,
    ProviderUnavailable,
    RateLimited,
)


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
def breaker(clock):
    return CircuitBreaker(clock=clock)


def fail(breaker, *errors):
    for error in errors:
        with breaker.turn() as turn:
            breaker.failed(error, turn)


AWAY = [ProviderUnavailable("503")] * FAILURES_TO_OPEN


def test_failures_in_a_row_open_it_and_one_answer_starts_the_count_again(breaker):
    """Four failures are bad luck; the fifth in a row is a provider that is away."""
    fail(breaker, *AWAY[1:])
    breaker.answered()
    fail(breaker, *AWAY[1:])
    assert breaker.lets_through()
    fail(breaker, AWAY[0])
    assert not breaker.lets_through()


@pytest.mark.parametrize(
    "well", [ContentBlocked("no"), NoImage("words"), ProviderMisconfigured("key refused")]
)
def test_a_refusal_is_an_answer(breaker, well):
    """Whoever refuses a prompt or a key is there; the run itself stops asking where that helps."""
    fail(breaker, *AWAY[1:], well, *AWAY[1:])
    assert breaker.lets_through()


def test_lost_answers_open_it_too(breaker):
    """Each may have cost its full price for nothing."""
    fail(breaker, *[AnswerLost("lost")] * FAILURES_TO_OPEN)
    assert breaker.is_open


def test_one_burst_of_429s_counts_once_and_those_after_the_pause_count_each(breaker, clock):
    """Fifty at once were sent before anybody knew; what counts is that the pause did not help."""
    burst = [breaker.turn() for _ in range(50)]
    turns = [one.__enter__() for one in burst]
    clock.now += 1
    for turn in turns:
        breaker.failed(RateLimited("slow down"), turn)
    assert not breaker.is_open
    for _ in range(FAILURES_TO_OPEN - 1):
        clock.now += 60
        fail(breaker, RateLimited("slow down"))
    assert breaker.is_open


def test_after_the_cool_down_one_looks_and_the_others_wait_for_its_word(breaker, clock):
    """Half-open: one probe, never two."""
    fail(breaker, *AWAY)
    clock.now += COOL_DOWN_S - 1
    assert not breaker.lets_through()
    clock.now += 1
    assert breaker.lets_through()
    with breaker.turn() as probe:
        assert probe.probe
        assert not breaker.lets_through()
        breaker.failed(AWAY[0], probe)
    assert not breaker.lets_through()
    clock.now += COOL_DOWN_S
    with breaker.turn():
        breaker.answered()
    assert breaker.lets_through()
    assert not breaker.is_open


def test_a_look_without_a_verdict_leaves_the_look_to_the_next(breaker, clock):
    """The image was found paid, or its run was stopped: nobody looked."""
    fail(breaker, *AWAY)
    clock.now += COOL_DOWN_S
    with breaker.turn() as probe:
        assert probe.probe
    with breaker.turn() as again:
        assert again.probe


def test_a_look_that_meets_a_429_keeps_it_open_for_another_cool_down(breaker, clock):
    """Also when an older request's 429 came while the look was out."""
    fail(breaker, *AWAY)
    with breaker.turn() as old:
        clock.now += COOL_DOWN_S
        with breaker.turn() as probe:
            clock.now += 1
            breaker.failed(RateLimited("old"), old)
            breaker.failed(RateLimited("still"), probe)
    assert not breaker.lets_through()


def test_runs_of_a_process_share_one_for_a_provider_and_model():
    """What one run found out, the next one knows; another account or model is somebody else."""
    assert breaker_of("gemini", "m") is breaker_of("gemini", "m")
    assert breaker_of("gemini", "m") is not breaker_of("gemini/team", "m")
    assert breaker_of("gemini", "m") is not breaker_of("gemini", "n")
