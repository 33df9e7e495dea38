"""Only frames that do not belong are drawn again, as often as allowed, and the better one stays."""

import numpy as np

from imagemill.animation.making import animated
from tests.unit import motion


class Hand:
    """Draws frames of a set; `wrong` says which attempts come out strange."""

    def __init__(self, wrong: dict[int, int], strange: str = "other_colours"):
        self.frames = motion.animation("dog", "bob", seed=9)
        self.wrong, self.strange, self.calls = wrong, motion.STRANGE[strange], []

    async def __call__(self, index: int, attempt: int, after: int) -> np.ndarray:
        self.calls.append((index, attempt, after))
        good = self.frames[index]
        return self.strange(good, attempt) if attempt <= self.wrong.get(index, 0) else good


FIRST_ROUND = [(index, 1, 0) for index in range(1, 8)]


async def test_a_planted_outlier_is_found_and_only_it_is_redone():
    """Seven calls for eight frames, then one more for the strange one."""
    hand = Hand({5: 1})
    found = await animated(hand, hand.frames[0], 8)
    assert hand.calls == [*FIRST_ROUND, (5, 2, 0)]
    assert found.outliers == ()
    assert found.attempts == [1, 1, 1, 1, 1, 2, 1, 1]
    assert [(each.frame, each.why, each.attempts, each.held) for each in found.redone] == [
        (5, "colours", 2, True)
    ]


async def test_frames_that_hold_together_are_never_drawn_twice():
    """Seven calls, nothing redone."""
    hand = Hand({})
    found = await animated(hand, hand.frames[0], 8)
    assert hand.calls == FIRST_ROUND
    assert found.redone == []


async def test_redoing_ends():
    """A frame that stays strange is drawn three times in all, and named at the end."""
    hand = Hand({2: 99})
    found = await animated(hand, hand.frames[0], 8)
    assert [call[:2] for call in hand.calls[7:]] == [(2, 2), (2, 3)]
    assert found.outliers == (2,)
    assert not found.redone[0].held


async def test_a_worse_attempt_does_not_replace_a_better_one():
    """The redo came out empty: the first attempt stays."""
    hand = Hand({3: 1}, "larger")

    async def draw(index, attempt, after):
        picture = await hand(index, attempt, after)
        return np.zeros_like(picture) if (index, attempt) == (3, 2) else picture

    found = await animated(draw, hand.frames[0], 8, max_redos=1)
    assert found.attempts[3] == 1
    assert found.pictures[3].any()


async def test_a_strange_first_frame_is_drawn_after_the_middle_one():
    """All others agree: it is the first that is wrong, and it cannot be its own reference."""
    hand = Hand({})
    found = await animated(hand, motion.other_colours(hand.frames[0], 0), 8)
    ((index, attempt, after),) = hand.calls[7:]
    assert (index, attempt) == (0, 2)
    assert after != 0
    assert found.outliers == ()
