"""Which frames of an animation do not belong: measured against the median and against the first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagemill.animation.look import Look, look_at
from imagemill.errors import RequestError
from imagemill.quality.check import Picture

FLOORS = {"colours": 4.0, "size": 0.22, "place": 0.14, "shape": 0.24, "hand": 13.0}
"""Distance from the median that any motion may have. Measured on 96 sets of 8 frames (bob, squash,
swing, turn; tests/unit/test_animation_drift.py)."""
MEDIAN_SPREADS = 3.5
"""Above the floor: so many spreads (1.4826 times the median absolute deviation) from the median
distance. Large motion has large spread, so what all frames do is no drift."""
FROM_FIRST = 2.2
"""So many floors a frame may be from the first one: slow drift has no outlier against the median."""
_TO_SIGMA = 1.4826
"""From a median absolute deviation to a normal distribution's standard deviation."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a frame is from the others.

    Attributes:
        index: Of the frame, from 0.
        parts: By name (`colours`, `size`, `place`, `shape`, `hand`), the distance as a share of
            what is allowed: above 1 the frame does not belong.
    """

    index: int
    parts: dict[str, float]

    @property
    def score(self) -> float:
        """The largest part; 0 is a frame like the others, above 1 one that does not belong."""
        return max(self.parts.values())

    @property
    def outlier(self) -> bool:
        """Whether the frame does not belong."""
        return self.score > 1.0

    @property
    def why(self) -> str:
        """The name of the largest part."""
        return max(self.parts, key=lambda name: self.parts[name])


def measure(frames: Sequence[Picture]) -> tuple[Drift, ...]:
    """Return the drift of each frame. CPU: 30 ms a frame of 512 px; call it in a thread.

    Args:
        frames: H x W x 4 each; at least three, or there is no median to differ from.

    Raises:
        RequestError: fewer than three frames.
    """
    if len(frames) < 3:
        raise RequestError(
            f"Drift is measured among at least 3 frames; got {len(frames)}.",
            remedy="Ask for more frames, or compare the two by eye.",
        )
    looks = _facing_alike([look_at(frame) for frame in frames])
    middle = _median(looks)
    parts: list[dict[str, float]] = [{} for _ in looks]
    for name, distance in _DISTANCES.items():
        off = np.array([distance(look, middle) for look in looks])
        spread = float(np.median(np.abs(off - np.median(off)))) * _TO_SIGMA
        limit = max(FLOORS[name], float(np.median(off)) + MEDIAN_SPREADS * spread)
        for part, value in zip(parts, off / limit, strict=True):
            part[name] = round(float(value), 4)
    _hold_to_the_first(parts, looks)
    for part, look in zip(parts, looks, strict=True):
        if look.empty:
            part["size"] = 99.0
    return tuple(Drift(index, part) for index, part in enumerate(parts))


def outliers(frames: Sequence[Picture]) -> tuple[int, ...]:
    """Return the indices of the frames that do not belong, in order; see `measure`."""
    return tuple(drift.index for drift in measure(frames) if drift.outlier)


def worst_drift(frames: Sequence[Picture]) -> float:
    """Return the drift of the frame that belongs least: up to 1 the animation holds together."""
    return max(drift.score for drift in measure(frames))


def medoid(frames: Sequence[Picture]) -> int:
    """Return the index of the frame nearest to the median: the one to draw an outlier after."""
    return min(measure(frames), key=lambda drift: (drift.score, drift.index)).index


def _hold_to_the_first(parts: list[dict[str, float]], looks: Sequence[Look]) -> None:
    """Add the distance from the first frame, unless it is the first that does not belong."""
    if max(parts[0].values()) > 1.0:
        return
    for part, look in zip(parts[1:], looks[1:], strict=True):
        for name, distance in _DISTANCES.items():
            off = distance(look, looks[0]) / (FROM_FIRST * FLOORS[name])
            if name in _HELD_TO_FIRST:
                part[name] = max(part[name], round(off, 4))


_HELD_TO_FIRST = ("colours", "hand")
"""What no motion changes; size, place and shape differ from a first frame by as much as it moves."""


def _facing_alike(looks: Sequence[Look]) -> list[Look]:
    """Mirror the looks that resemble the first one more when they face the other way."""
    first = next((look for look in looks if not look.empty), looks[0])
    return [min((look, look.mirrored()), key=lambda one: _shape(one, first)) for look in looks]


def _median(looks: Sequence[Look]) -> Look:
    shown = [look for look in looks if not look.empty] or list(looks)

    def middle(of: Callable[[Look], NDArray[np.float64]]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = np.median([of(look) for look in shown], axis=0)
        return result

    return Look(
        colours=middle(lambda look: look.colours), size=middle(lambda look: look.size),
        place=middle(lambda look: look.place), shape=middle(lambda look: look.shape),
        hand=middle(lambda look: look.hand),
    )  # fmt: skip


def _colours(one: Look, other: Look) -> float:
    return float(np.abs(one.colours - other.colours).mean())


def _size(one: Look, other: Look) -> float:
    """Height and area; a figure that turns or swings an arm changes its width by right."""
    off = np.abs(one.size - other.size)
    return float(max(off[0], off[2], 0.5 * off[1]))


def _place(one: Look, other: Look) -> float:
    return float(np.abs(one.place - other.place).max())


def _shape(one: Look, other: Look) -> float:
    return float(np.abs(one.shape - other.shape).mean())


def _hand(one: Look, other: Look) -> float:
    return float(np.abs(one.hand - other.hand).max())


_DISTANCES: dict[str, Callable[[Look, Look], float]] = {
    "colours": _colours, "size": _size, "place": _place, "shape": _shape, "hand": _hand,
}  # fmt: skip
