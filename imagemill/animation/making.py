"""Making an animation hold together: all frames once, then only those that do not belong, a few times.

Who draws is injected; this decides what is drawn again, after which frame, and which attempt stays.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from imagemill.animation.drift import Drift, measure
from imagemill.quality.check import Picture

MAX_REDOS = 2
"""Times that one frame is drawn again at most."""

Draw = Callable[[int, int, int], Awaitable[Picture]]
"""From a frame's index, the attempt (1 is the first) and the frame to draw it after, to its picture."""


@dataclass
class Redone:
    """A frame that was drawn again.

    Attributes:
        frame: Its index.
        why: The part of its drift that was largest.
        attempts: How often it was drawn in all.
        held: Whether it belongs now.
    """

    frame: int
    why: str
    attempts: int
    held: bool = False


@dataclass
class Animated:
    """Frames that were made, and how they hold together.

    Attributes:
        pictures: H x W x 4, in order.
        attempts: Which attempt of each frame stays.
        drifts: Of the frames that stay.
        redone: The frames that were drawn again, in order.
    """

    pictures: list[Picture]
    attempts: list[int]
    drifts: tuple[Drift, ...] = ()
    redone: list[Redone] = field(default_factory=list)

    @property
    def outliers(self) -> tuple[int, ...]:
        """The frames that do not belong, even after the last attempt."""
        return tuple(drift.index for drift in self.drifts if drift.outlier)


async def animated(
    draw: Draw, first: Picture, frames: int, *, max_redos: int = MAX_REDOS
) -> Animated:
    """Make the frames after the first, then again those that do not belong.

    Each redo is a new attempt; the better one of old and new stays. A frame that held together is
    never drawn twice. If the first frame itself is the odd one, it is drawn again after the frame
    nearest to the middle of all.

    Args:
        draw: Makes one frame; may raise, which ends it all.
        first: Frame 0, H x W x 4, made before.
        frames: How many in all, at least 3.
        max_redos: Rounds of redoing; 0 only measures.
    """
    rest = await asyncio.gather(*(draw(index, 1, 0) for index in range(1, frames)))
    found = Animated([first, *rest], [1] * frames)
    found.drifts = await asyncio.to_thread(measure, found.pictures)
    tried = [1] * frames
    for _ in range(max_redos):
        wrong = found.outliers
        if not wrong:
            break
        middle = min(found.drifts, key=lambda drift: (drift.score, drift.index)).index
        again = [(index, tried[index] + 1, middle if 0 in wrong else 0) for index in wrong]
        new = await asyncio.gather(*(draw(*each) for each in again))
        for index, attempt, _after in again:
            tried[index] = attempt
        await _keep_the_better(found, dict(zip(wrong, new, strict=True)), tried)
    return found


async def _keep_the_better(found: Animated, new: dict[int, Picture], tried: list[int]) -> None:
    """Put new attempts in; those that are no nearer than the old ones go out again."""
    before = {index: (found.pictures[index], found.attempts[index]) for index in new}
    old = {drift.index: drift for drift in found.drifts}
    for index, picture in new.items():
        found.pictures[index], found.attempts[index] = picture, tried[index]
    drifts = await asyncio.to_thread(measure, found.pictures)
    worse = [index for index in new if drifts[index].score >= old[index].score]
    for index in worse:
        found.pictures[index], found.attempts[index] = before[index]
    found.drifts = await asyncio.to_thread(measure, found.pictures) if worse else drifts
    for index in new:
        known = next((each for each in found.redone if each.frame == index), None)
        if known is None:
            known = Redone(index, old[index].why, 1)
            found.redone.append(known)
        known.attempts, known.held = tried[index], not found.drifts[index].outlier
