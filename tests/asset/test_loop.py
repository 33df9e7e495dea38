"""The loop as a coroutine over steps: which are taken, in which order, and how it ends."""

from decimal import Decimal

import pytest

from imagemill.asset.decision import Terms
from imagemill.asset.loop import improved
from imagemill.errors import (
    BudgetExceeded,
    ContentBlocked,
    JudgeFailed,
    KeyHeld,
    LedgerError,
    ProviderUnavailable,
    RunStopped,
)


class ScriptedSteps:
    """Scores in turn; an error in their place is raised. `failing` names steps that raise."""

    def __init__(self, *scores, price_usd="0", **failing):
        self.scores = list(scores)
        self.price = Decimal(price_usd)
        self.failing = failing
        self.taken = []

    def _take(self, step, iteration):
        self.taken.append(f"{step}{iteration}")
        if f"{step}{iteration}" in self.failing:
            raise self.failing[f"{step}{iteration}"]

    async def draw(self, iteration):
        self._take("draw", iteration)

    async def cut(self, iteration):
        self._take("cut", iteration)

    async def check(self, iteration):
        self._take("check", iteration)

    async def judge(self, iteration, *, again):
        self._take("judge", f"{iteration}{'!' * again}")
        score = self.scores.pop(0)
        if isinstance(score, Exception):
            raise score
        return score

    async def refine(self, iteration, *, by_rules):
        self._take("rules" if by_rules else "refine", iteration)

    def price_usd(self):
        return self.price


async def test_the_steps_are_taken_in_order():
    """draw, cut, check, judge, refine, and again, until the target."""
    steps = ScriptedSteps(62, 93)
    ending = await improved(steps, Terms())
    assert steps.taken == ["draw1", "cut1", "check1", "judge1", "refine1",
                           "draw2", "cut2", "check2", "judge2"]  # fmt: skip
    assert (ending.why, ending.best, ending.error) == ("target", 2, None)


async def test_a_failed_judgement_is_asked_once_more_about_the_same_picture():
    """No second picture is drawn for it; twice is the end."""
    steps = ScriptedSteps(JudgeFailed("hm"), 95)
    assert (await improved(steps, Terms())).why == "target"
    assert steps.taken[-2:] == ["judge1", "judge1!"]
    steps = ScriptedSteps(JudgeFailed("hm"), JudgeFailed("hm"), 95)
    ending = await improved(steps, Terms())
    assert (ending.why, ending.best, [r.score for r in ending.rounds]) == ("judge", 1, [None, None])


async def test_a_refiner_that_is_away_leaves_it_to_the_rules():
    """The loop goes on."""
    steps = ScriptedSteps(62, 93, refine1=ProviderUnavailable("away"))
    ending = await improved(steps, Terms())
    assert ending.why == "target"
    assert steps.taken[4:7] == ["refine1", "rules1", "draw2"]


ENDINGS = [
    ("draw2", BudgetExceeded("used up"), "budget"),
    ("refine1", BudgetExceeded("used up"), "budget"),
    ("draw2", RunStopped("stopped"), "stopped"),
    ("draw2", ContentBlocked("refused"), "failed"),
    ("cut2", ContentBlocked("no segmenter"), "failed"),
    ("draw2", KeyHeld("a twin has it"), "failed"),
]


@pytest.mark.parametrize(("step", "error", "why"), ENDINGS)
async def test_what_cannot_go_on_ends_with_the_best_so_far(step, error, why):
    """The asset is delivered, and the ending says what it failed with."""
    ending = await improved(ScriptedSteps(62, 93, **{step: error}), Terms())
    assert (ending.why, ending.best, ending.error) == (why, 1, error)
    assert str(error) in ending.reason


async def test_nothing_made_is_no_best():
    """The first picture was refused."""
    ending = await improved(ScriptedSteps(draw1=ContentBlocked("refused")), Terms())
    assert (ending.best, ending.rounds, ending.why) == (None, (), "failed")


async def test_a_picture_that_cannot_be_judged_any_more_is_there_all_the_same():
    """The budget went with the picture: unjudged, and delivered if there is no better one."""
    refused = BudgetExceeded("used up")
    ending = await improved(ScriptedSteps(refused), Terms())
    assert (ending.best, ending.why, ending.rounds[0].score) == (1, "budget", None)
    ending = await improved(ScriptedSteps(62, refused), Terms())
    assert (ending.best, len(ending.rounds)) == (1, 2)


async def test_a_dead_ledger_ends_everything():
    """Nobody may go on paying."""
    with pytest.raises(LedgerError):
        await improved(ScriptedSteps(draw1=LedgerError("refused")), Terms())


async def test_a_gain_is_weighed_against_what_iterations_cost():
    """Two that raised nothing, at four cents each, are the last."""
    ending = await improved(ScriptedSteps(88, 80, 85, 99, price_usd="0.04"), Terms())
    assert (ending.why, ending.best) == ("gain", 1)
