"""The loop of one asset as a coroutine over steps: who takes them, and where, is the caller's.

draw → cut → check → judge → decide → refine, until `decide` says stop or a step cannot be taken.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

from imagemill.asset.decision import Go, Round, Stop, Terms, best, decide
from imagemill.errors import BudgetExceeded, ImagemillError, LedgerError, ProviderError, RunStopped

Why = Literal["target", "judge", "iterations", "budget", "gain", "stopped", "failed", "drift"]


class Steps(Protocol):
    """What can be done for one asset. Iterations are counted from 1; each step needs the one before.

    Each raises `ImagemillError` when it could not be done, retries included.
    """

    async def draw(self, iteration: int) -> None:
        """Make the picture of this iteration, or find that it is paid."""
        ...

    async def cut(self, iteration: int) -> None:
        """Cut it out and fit it: what is delivered."""
        ...

    async def check(self, iteration: int) -> None:
        """Measure what would be delivered."""
        ...

    async def judge(self, iteration: int, *, again: int) -> float:
        """Return its score, 0 to 100; `again` counts earlier looks at the same picture."""
        ...

    async def refine(self, iteration: int, *, by_rules: bool) -> None:
        """Word the next iteration from what was wrong with this one."""
        ...

    def price_usd(self) -> Decimal:
        """Return what one more iteration is expected to cost: what one has cost so far."""
        ...


@dataclass(frozen=True)
class Ending:
    """How the loop of one asset ended.

    Attributes:
        rounds: Every judging, in order; a picture that nobody judged is one with score None.
        best: Iteration of the best picture; None when there is none.
        why: In one word.
        reason: In one sentence, for the result.
        error: What a step failed with, or None.
    """

    rounds: tuple[Round, ...]
    best: int | None
    why: Why
    reason: str
    error: ImagemillError | None = None


async def improved(steps: Steps, terms: Terms) -> Ending:
    """Make one asset as good as the terms allow; never raises for the asset.

    Raises:
        LedgerError: the ledger took nothing any more: nobody may go on.
    """
    rounds: list[Round] = []
    made = again = 0
    try:
        while True:
            priced = terms.model_copy(update={"price_of_next_usd": steps.price_usd()})
            verdict = decide(rounds, priced)
            if isinstance(verdict, Stop):
                return _ended(rounds, verdict.why, verdict.reason)
            made, again = await _picture(steps, verdict, made, again)
            score = await _score(steps, made, again, rounds)
            rounds.append(Round(iteration=made, score=score))
    except LedgerError as error:
        if not _is_about_one(error):
            raise
        return _ended(rounds, "failed", str(error), error)
    except ImagemillError as error:
        return _ended(rounds, _word(error), str(error), error)


async def _picture(steps: Steps, verdict: Go, made: int, again: int) -> tuple[int, int]:
    """Do what was decided, up to what can be judged; returns iteration and earlier looks at it."""
    if verdict.step == "judge_again":
        return made, again + 1
    if made:
        await _refined(steps, made)
    made += 1
    await steps.draw(made)
    await steps.cut(made)
    await steps.check(made)
    return made, 0


async def _refined(steps: Steps, iteration: int) -> None:
    try:
        await steps.refine(iteration, by_rules=False)
    except ProviderError:  # a refiner that is away must not end what rules can go on with
        await steps.refine(iteration, by_rules=True)


async def _score(steps: Steps, made: int, again: int, rounds: list[Round]) -> float | None:
    """Return the score, None for a judgement that failed.

    A picture that cannot be judged any more, for want of money or time, is there all the same.
    """
    try:
        return await steps.judge(made, again=again)
    except (BudgetExceeded, RunStopped, LedgerError):
        rounds.append(Round(iteration=made, score=None))
        raise
    except ImagemillError:
        return None


def _ended(
    rounds: list[Round], why: Why, reason: str, error: ImagemillError | None = None
) -> Ending:
    iteration = best(rounds).iteration if rounds else None
    return Ending(tuple(rounds), iteration, why, reason, error)


def _word(error: ImagemillError) -> Why:
    if isinstance(error, BudgetExceeded):
        return "budget"
    return "stopped" if isinstance(error, RunStopped) else "failed"


def _is_about_one(error: LedgerError) -> bool:
    """Whether the ledger speaks of this key alone (held, ambiguous) and not of itself."""
    return type(error) is not LedgerError
