"""When the loop goes on and when it stops: a pure function of what was seen and what is left.

It knows scores and money, nothing of pictures; the flow does what it says.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from imagemill.asset.judgement import PASS_SCORE, Score
from imagemill.errors import RequestError

MAX_ITERATIONS = 5
"""The document's default (003, section 6.1)."""

POINT_WORTH_USD = Decimal("0.01")
"""What a point of score is worth to us: at 4 cents a picture, 4 points must be expected."""

RISES_CONSIDERED = 2
"""The expected gain is the mean of so many last rises: one bad picture alone stops nothing."""

JUDGE_FAILURES_BORNE = 2


class Round(BaseModel):
    """One judging of one picture; a picture that is judged again has two rounds.

    `score` is 0 to 100, and None when the judgement failed.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    iteration: Annotated[int, Field(ge=1)]
    score: Score | None


class Go(BaseModel):
    """Go on: make a better picture, or have the same one judged again."""

    model_config = ConfigDict(frozen=True)

    step: Literal["make", "judge_again"]
    reason: str


class Stop(BaseModel):
    """Stop, and return the best picture there is."""

    model_config = ConfigDict(frozen=True)

    why: Literal["target", "judge", "iterations", "budget", "gain"]
    reason: str


class Terms(BaseModel):
    """What the asker wants and what the next step costs.

    Attributes:
        target_score: Stop at or above it.
        max_iterations: Most pictures made.
        price_of_next_usd: Worst case of one more picture with its judgement and refinement.
        price_of_judging_usd: Worst case of one more judgement of the same picture.
        budget_left_usd: None is no ceiling.
        point_worth_usd: None never stops for the price of a small gain.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    target_score: Score = PASS_SCORE
    max_iterations: Annotated[int, Field(ge=1, le=50)] = MAX_ITERATIONS
    price_of_next_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    price_of_judging_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    budget_left_usd: Decimal | None = None
    point_worth_usd: Annotated[Decimal | None, Field(ge=0)] = POINT_WORTH_USD


def best(history: Sequence[Round]) -> Round:
    """Return the round of the best picture: the highest score, the earliest of equals.

    With no score at all it is the last one: unjudged, so it has passed nothing.

    Raises:
        RequestError: nothing was made yet.
    """
    if not history:
        raise RequestError("There is no best of nothing.", remedy="Make a picture first.")
    scored = [each for each in history if each.score is not None]
    return max(scored, key=lambda each: each.score or 0.0) if scored else history[-1]


def expected_gain(history: Sequence[Round]) -> float | None:
    """Return by how many points one more picture is expected to raise the best.

    The mean of the last `RISES_CONSIDERED` rises of the best score; a picture below the best rose
    by 0. Never more than is missing to 100. None before the second judged picture: nothing is
    known yet.
    """
    scores = [each.score for each in history if each.score is not None]
    if len(scores) < 2:
        return None
    tops = [max(scores[: n + 1]) for n in range(len(scores))]
    rises = [after - before for before, after in pairwise(tops)]
    last = rises[-RISES_CONSIDERED:]
    return min(sum(last) / len(last), 100.0 - tops[-1])


def decide(history: Sequence[Round], terms: Terms) -> Go | Stop:
    """Return whether to go on, and why, in one sentence for the log and the result.

    In this order: the target is reached; the judge failed (once: judge the same picture again,
    since it is paid; twice in a row: stop); pictures are used up; money is used up; the expected
    gain times `point_worth_usd` is below the price. A free picture is always worth its price.
    """
    made = len({each.iteration for each in history})
    if history and (top := best(history)).score is not None and top.score >= terms.target_score:
        reason = f"Score {top.score:g} of image {top.iteration} reaches {terms.target_score:g}."
        return Stop(why="target", reason=reason)
    if failed := _failures_in_a_row(history):
        return _after_failed_judgement(failed, terms)
    if made >= terms.max_iterations:
        return Stop(why="iterations", reason=f"All {terms.max_iterations} images were made.")
    if _too_dear(terms.price_of_next_usd, terms):
        return _no_money(terms.price_of_next_usd, terms)
    gain = expected_gain(history)
    if gain is not None and terms.point_worth_usd is not None:
        worth_usd = Decimal(str(gain)) * terms.point_worth_usd
        if worth_usd < terms.price_of_next_usd:
            return Stop(
                why="gain",
                reason=f"{gain:g} points to be expected are worth ${worth_usd:.4f}, the next image "
                f"costs ${terms.price_of_next_usd:.4f}.",
            )
    return Go(step="make", reason=f"{made} of {terms.max_iterations} images made.")


def _failures_in_a_row(history: Sequence[Round]) -> int:
    scored = [place for place, each in enumerate(history, start=1) if each.score is not None]
    return len(history) - (scored[-1] if scored else 0)


def _after_failed_judgement(failed: int, terms: Terms) -> Go | Stop:
    if failed >= JUDGE_FAILURES_BORNE:
        return Stop(why="judge", reason=f"The judge failed {failed} times in a row.")
    if _too_dear(terms.price_of_judging_usd, terms):
        return _no_money(terms.price_of_judging_usd, terms)
    return Go(step="judge_again", reason="The judgement failed; the image is paid, so ask again.")


def _too_dear(price_usd: Decimal, terms: Terms) -> bool:
    return terms.budget_left_usd is not None and price_usd > terms.budget_left_usd


def _no_money(price_usd: Decimal, terms: Terms) -> Stop:
    left_usd = max(terms.budget_left_usd or Decimal(0), Decimal(0))
    return Stop(
        why="budget", reason=f"The next step may cost ${price_usd:.4f}; ${left_usd:.4f} are left."
    )
