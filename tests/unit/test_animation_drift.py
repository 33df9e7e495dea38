"""Frames that do not belong are found, and motion is not taken for drift.

The figures here were not looked at while the floors were chosen.
"""

from functools import cache

import numpy as np
import pytest

from imagemill.animation import medoid, outliers, worst_drift
from imagemill.animation.drift import measure
from imagemill.errors import RequestError
from tests.unit import motion

MOVES = tuple(motion.MOVES)


@cache
def sets() -> tuple[tuple[np.ndarray, ...], ...]:
    """24 animations of 8 frames: every figure once, the four motions in turn, half outlined."""
    return tuple(
        tuple(motion.animation(name, MOVES[i % 4], seed=100 + i, outline=1.2 * (i // 4 % 2)))
        for i, name in enumerate(motion.FIGURES)
    )


def test_motion_is_no_drift():
    """Bobbing, squashing, swinging and turning figures raise no alarm: 0 of 192 frames."""
    alarms = [(motion.FIGURES[i], outliers(frames)) for i, frames in enumerate(sets())]
    assert [each for each in alarms if each[1]] == []


@pytest.mark.parametrize(
    ("strange", "least"),
    [("other_colours", 24), ("washed_out", 22), ("smaller", 24), ("larger", 22), ("elsewhere", 24),
     ("uncut", 24), ("out_of_focus", 24), ("nothing", 24)],
)  # fmt: skip
def test_a_planted_frame_is_found_and_only_it(strange, least):
    """One strange frame in 8, at every place in turn: it is named, and no other is."""
    right = 0
    for number, frames in enumerate(sets()):
        at = number % motion.FRAMES
        found = outliers(_with(frames, at, motion.STRANGE[strange](frames[at], number)))
        right += found == (at,)
    assert right >= least


def test_a_frame_of_another_figure_is_found():
    """Where the model drew somebody else in the same pose."""
    right = 0
    for number, frames in enumerate(sets()):
        at = number % motion.FRAMES
        right += outliers(_with(frames, at, sets()[(number + 4) % len(sets())][at])) == (at,)
    assert right == len(sets())


def test_slow_drift_is_seen_from_the_first_frame():
    """Colours that change a little with every frame have no outlier among them, and are found."""
    frames = motion.animation("dog", "bob", seed=3)
    faded = []
    for index, frame in enumerate(frames):
        grey = np.full_like(frame[..., :3], 170)
        share = index / 8
        rgb = (frame[..., :3] * (1 - share) + grey * share).astype(np.uint8)
        faded.append(np.dstack([rgb, frame[..., 3]]))
    found = outliers(faded)
    assert 7 in found
    assert 0 not in found


def test_the_medoid_is_a_frame_that_belongs():
    """An outlier at the first place is not what the others are drawn after."""
    frames = sets()[0]
    planted = _with(frames, 0, motion.other_colours(frames[0], 0))
    assert outliers(planted) == (0,)
    assert medoid(planted) != 0
    assert worst_drift(planted) > 1 > worst_drift(frames)


def test_drift_says_what_is_wrong():
    """The part that is farthest off has a name: it becomes the instruction of the next attempt."""
    frames = sets()[21]
    why = {
        name: measure(_with(frames, 3, motion.STRANGE[name](frames[3], 0)))[3].why
        for name in ("other_colours", "smaller", "elsewhere")
    }
    assert why == {"other_colours": "colours", "smaller": "size", "elsewhere": "place"}


def test_two_frames_have_no_median():
    """Too few frames are refused with a remedy, not judged."""
    with pytest.raises(RequestError, match="at least 3 frames; got 2"):
        outliers(sets()[0][:2])


def _with(frames, at, strange):
    return [*frames[:at], strange, *frames[at + 1 :]]
