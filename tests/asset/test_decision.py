"""The loop's decision: when to stop, and which picture is returned."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemill.asset.decision import Go, Round, Stop, Terms, best, decide, expected_gain
from imagemill.errors import RequestError

CENTS_4 = Decimal("0.04")


def history(*scores):
    """One picture a score."""
    return [Round(iteration=n, score=score) for n, score in enumerate(scores, start=1)]


def played(scores, terms) -> tuple[list[Round], Stop]:
    """Let the decision play against scripted scores; None is a judgement that failed."""
    rounds, script = [], iter(scores)
    while isinstance(verdict := decide(rounds, terms), Go):
        iteration = len({each.iteration for each in rounds}) + (verdict.step == "make")
        rounds.append(Round(iteration=iteration, score=next(script)))
        assert len(rounds) < 50
    return rounds, verdict


def test_the_target_stops_at_once():
    """62, 71, 93 stops at 3, and the 93 is returned."""
    rounds, stop = played([62, 71, 93, 100], Terms(price_of_next_usd=CENTS_4))
    assert (len(rounds), stop.why, best(rounds).score) == (3, "target", 93)


def test_the_best_is_returned_not_the_last():
    """62, 88, 80, 85, 70: when pictures are free all five are made, and the 88 is returned."""
    rounds, stop = played([62, 88, 80, 85, 70], Terms())
    assert (len(rounds), stop.why, best(rounds).iteration) == (5, "iterations", 2)


def test_a_gain_that_is_not_worth_its_price_is_not_bought():
    """80 and 85 raised the 88 by nothing: the fifth picture, a 70, is not paid for."""
    rounds, stop = played([62, 88, 80, 85, 70], Terms(price_of_next_usd=CENTS_4))
    assert (len(rounds), stop.why, best(rounds).score) == (4, "gain", 88)
    never, stop = played(
        [62, 88, 80, 85, 70], Terms(price_of_next_usd=CENTS_4, point_worth_usd=None)
    )
    assert (len(never), stop.why) == (5, "iterations")


@pytest.mark.parametrize(
    ("scores", "gain"),
    [((), None), ((62,), None), ((62, 70), 8), ((62, 70, 74), 6), ((50, 70, 60), 10),
     ((62, 88, 80, 85), 0), ((50, 99), 1), ((62, None, 70), 8)],
)  # fmt: skip
def test_the_expected_gain_is_the_mean_of_the_last_two_rises(scores, gain):
    """Of the best score; unknown before the second judged picture; never above 100."""
    assert expected_gain(history(*scores)) == gain


def test_the_price_of_a_point_draws_the_line():
    """Four points for four cents are bought; half a point less is not."""
    terms = Terms(price_of_next_usd=CENTS_4)
    assert isinstance(decide(history(60, 64), terms), Go)
    assert decide(history(60, 63.5), terms).why == "gain"


def test_the_budget_is_a_ceiling():
    """The next picture must fit whole; a spent budget stops before the first."""
    terms = Terms(price_of_next_usd=CENTS_4, budget_left_usd=CENTS_4)
    assert isinstance(decide([], terms), Go)
    for left in ("0.0399", "0", "-1"):
        short = terms.model_copy(update={"budget_left_usd": Decimal(left)})
        stop = decide(history(60), short)
        assert stop.why == "budget"
        assert "-" not in stop.reason


def test_a_failed_judgement_is_asked_for_again_before_a_new_picture_is_bought():
    """The picture is paid; one more look is cheaper. The second look counts for the same picture."""
    rounds, stop = played([None, 62, None, 91], Terms())
    assert [each.iteration for each in rounds] == [1, 1, 2, 2]
    assert stop.why == "target"


def test_a_judge_that_fails_twice_neither_passes_nor_goes_on():
    """Two in a row end it, with what was best before; alone, the unjudged picture has no score."""
    rounds, stop = played([None] * 9, Terms())
    assert (len(rounds), stop.why, best(rounds).score) == (2, "judge", None)
    rounds, stop = played([70, None, None], Terms())
    assert (stop.why, best(rounds).score) == ("judge", 70)


def test_looking_again_has_a_price_too():
    """With too little left for one more judgement the loop stops."""
    terms = Terms(price_of_judging_usd=CENTS_4, budget_left_usd=Decimal("0.01"))
    assert decide(history(None), terms).why == "budget"


def test_a_judge_that_fails_every_other_time_ends_with_the_pictures():
    """At most two looks a picture, so the loop is bounded by max_iterations."""
    rounds, stop = played([None, 60] * 20, Terms(max_iterations=3))
    assert (len(rounds), stop.why) == (6, "iterations")


@given(
    scores=st.lists(st.none() | st.floats(0, 100), min_size=40, max_size=40),
    price=st.decimals(0, 1, places=4),
    budget=st.none() | st.decimals(0, 3, places=4),
    most=st.integers(1, 10),
)
def test_whatever_the_scores_the_loop_ends_within_its_means(scores, price, budget, most):
    """Never more pictures than asked for, never two looks too many, the best is what is returned."""
    rounds, stop = played(
        scores, Terms(price_of_next_usd=price, budget_left_usd=budget, max_iterations=most)
    )
    assert len({each.iteration for each in rounds}) <= most
    assert len(rounds) <= 2 * most
    if rounds:
        seen = [each.score for each in rounds if each.score is not None]
        assert best(rounds).score == (max(seen) if seen else None)
        assert (stop.why == "target") == any(score >= 90 for score in seen)


def test_equals_and_nothing():
    """The earlier of equals is best; the best of nothing is an error."""
    assert best(history(70, 80, 80)).iteration == 2
    with pytest.raises(RequestError):
        best([])


@pytest.mark.parametrize("score", [-1, 101, float("nan"), float("inf")])
def test_a_score_is_from_0_to_100(score):
    """A number that is none cannot pass."""
    with pytest.raises(ValueError, match="score"):
        Round(iteration=1, score=score)
