"""The pixel grid of pixel art: finding it and snapping a picture to it.

Models draw "pixel art" whose squares are neither equal nor sharp. Between squares there are edges;
the side whose multiples hold most of them is the grid's.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagemill.quality.check import OPAQUE, Picture

SIDES_PX = (2.0, 64.0)
STEP_PX = 0.125
"""Finest difference between two sides tried; over 32 squares it adds up to 4 px."""
CERTAINTY = 0.28
"""Measured: pixel art 1, scaled to a fractional side 0.6, blurred by 1 px 0.35; drawings and noise up
to 0.21."""
_KEEP = 0.92
"""A multiple of the best side this near to it in certainty is the true side: half of a grid's side
holds all its edges, too."""


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """A grid of equal squares.

    Attributes:
        side_px: Side of a square, not always whole.
        left_px: Where the first line between columns is, 0 to `side_px`.
        top_px: Likewise between rows.
        certainty: 0 (edges anywhere) to 1 (all on the lines).
    """

    side_px: float
    left_px: float
    top_px: float
    certainty: float


def find_grid(picture: Picture) -> PixelGrid | None:
    """Return the pixel grid, or None if the edges follow none.

    CPU: 0.1 s for 512 px, 0.3 s for 1024 px; call it in a thread.
    """
    colour = picture.astype(np.float32)
    colour[..., :3] *= colour[..., 3:] / 255
    across = _steps(colour, axis=1)
    down = _steps(colour, axis=0)
    if across.sum() == 0 or down.sum() == 0:
        return None
    low, high = SIDES_PX
    sides = np.arange(low, min(high, min(picture.shape[:2]) / 4) + STEP_PX / 2, STEP_PX)
    found = [(*_fit(across, side), *_fit(down, side)) for side in sides]
    scores = np.array([min(h, v) for h, _, v, _ in found])
    if len(scores) == 0 or scores.max() < CERTAINTY:
        return None
    best = int(np.flatnonzero(scores >= _KEEP * scores.max())[-1])
    best = _top_of_the_hill(scores, best)
    _, left, _, top = found[best]
    return PixelGrid(float(sides[best]), left, top, float(scores[best]))


def _top_of_the_hill(scores: NDArray[np.float64], start: int) -> int:
    near = range(max(0, start - 4), start + 1)
    return max(near, key=lambda i: scores[i])


def _steps(colour: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
    """Return how much changes between neighbouring columns (axis 1) or rows (axis 0)."""
    change = np.abs(np.diff(colour, axis=axis)).max(axis=-1)
    change[change < 12] = 0
    sums: NDArray[np.float64] = change.sum(axis=1 - axis, dtype=np.float64)
    return sums


def _fit(steps: NDArray[np.float64], side: float) -> tuple[float, float]:
    """Return how certainly `steps` lie on lines `side` apart, 0 to 1, and where the first is."""
    size = len(steps) + 1
    firsts = np.arange(0, side, 0.5)
    lines = np.round(firsts[:, None] + side * np.arange(math.ceil(size / side))).astype(np.int64)
    inside = (lines >= 1) & (lines < size)
    number = inside.sum(axis=1)
    held = np.where(inside, steps[np.clip(lines - 1, 0, len(steps) - 1)], 0.0).sum(axis=1)
    chance = number / len(steps)
    scores = (held / steps.sum() - chance) / np.maximum(1 - chance, 1e-9)
    scores[number == 0] = 0.0
    best = int(scores.argmax())
    return (float(scores[best]), float(firsts[best])) if scores[best] > 0 else (0.0, 0.0)


def cells(picture: Picture, grid: PixelGrid) -> Picture:
    """Return the small picture with one pixel for each square of the grid.

    A square is opaque if most of it is; its colour is the most frequent of its middle, in steps of
    8 levels, so that soft borders between squares do not mix.
    """
    rows = _bounds(picture.shape[0], grid.top_px, grid.side_px)
    columns = _bounds(picture.shape[1], grid.left_px, grid.side_px)
    out = np.zeros((len(rows) - 1, len(columns) - 1, 4), np.uint8)
    for i in range(len(rows) - 1):
        for j in range(len(columns) - 1):
            out[i, j] = _cell(picture[rows[i] : rows[i + 1], columns[j] : columns[j + 1]])
    return out


def _cell(square: Picture) -> NDArray[np.uint8]:
    if 2 * int((square[..., 3] >= OPAQUE).sum()) < square.shape[0] * square.shape[1]:
        return np.zeros(4, np.uint8)
    dy, dx = square.shape[0] // 4, square.shape[1] // 4
    middle = square[dy : square.shape[0] - dy, dx : square.shape[1] - dx].reshape(-1, 4)
    solid = middle[middle[:, 3] >= OPAQUE]
    pixels = (solid if len(solid) else square[square[..., 3] >= OPAQUE])[:, :3]
    coarse = (pixels >> 3).astype(np.int32) @ np.array([1024, 32, 1])
    values, counts = np.unique(coarse, return_counts=True)
    colour = np.median(pixels[coarse == values[counts.argmax()]], axis=0)
    return np.array([*colour, 255], np.uint8)


def _bounds(size: int, first: float, side: float) -> NDArray[np.int64]:
    lines = np.round(np.arange(first, size + side, side)).astype(np.int64)
    lines = lines[(lines > side / 4) & (lines < size - side / 4)]
    return np.concatenate([[0], lines, [size]])


def snap_to_grid(picture: Picture, grid: PixelGrid | None = None) -> Picture:
    """Return the picture, size unchanged, with one colour and full or no alpha in each square.

    Args:
        picture: Not changed.
        grid: Found if not given; without one the picture is returned as it is.
    """
    grid = grid or find_grid(picture)
    if grid is None:
        return picture.copy()
    small = cells(picture, grid)
    rows = np.diff(_bounds(picture.shape[0], grid.top_px, grid.side_px))
    columns = np.diff(_bounds(picture.shape[1], grid.left_px, grid.side_px))
    result: Picture = np.repeat(np.repeat(small, rows, axis=0), columns, axis=1)
    return result
