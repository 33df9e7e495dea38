"""Outlines: every mark of a sketch is a closed polygon, an array of shape (n, 2), y downwards."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def ellipse(cx: float, cy: float, rx: float, ry: float, degrees: float = 0.0) -> Points:
    """Return an ellipse around (`cx`, `cy`), turned clockwise by `degrees`."""
    turn = np.linspace(0, 2 * math.pi, 44, endpoint=False)
    round_zero = np.stack([rx * np.cos(turn), ry * np.sin(turn)], axis=1)
    result: Points = turned(round_zero, degrees) + np.array([cx, cy])
    return result


def sector(cx: float, cy: float, rx: float, ry: float, start: float, end: float) -> Points:
    """Return the piece of an ellipse between two angles (degrees, clockwise from the right)."""
    turn = np.radians(np.linspace(start, end, 30))
    return np.stack([cx + rx * np.cos(turn), cy + ry * np.sin(turn)], axis=1)


def star(cx: float, cy: float, outer: float, inner: float, tips: float = 5) -> Points:
    """Return a star with `tips` points, the first of them up."""
    turn = np.arange(2 * int(tips)) * math.pi / int(tips) - math.pi / 2
    radius = np.where(np.arange(len(turn)) % 2 == 0, outer, inner)
    return np.stack([cx + radius * np.cos(turn), cy + radius * np.sin(turn)], axis=1)


def rectangle(x: float, y: float, width: float, height: float, radius: float = 0.0) -> Points:
    """Return a rectangle with its upper left corner at (`x`, `y`), corners rounded by `radius`."""
    if radius <= 0:
        return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], float)
    r = min(radius, width / 2, height / 2)
    corners = [(x + width - r, y + r, -90), (x + width - r, y + height - r, 0),
               (x + r, y + height - r, 90), (x + r, y + r, 180)]  # fmt: skip
    return np.concatenate([sector(cx, cy, r, r, a, a + 90)[::4] for cx, cy, a in corners])


def turned(points: Points, degrees: float) -> Points:
    """Return `points` turned clockwise around the origin."""
    if not degrees:
        return points
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    result: Points = points @ np.array([[c, s], [-s, c]])
    return result


def pairs(numbers: Sequence[float]) -> Points:
    """Return x y x y … as an array of points."""
    return np.array(numbers, float).reshape(-1, 2)


def smooth(points: Points, *, closed: bool = True, steps: int = 7) -> Points:
    """Return a Catmull-Rom curve through `points`."""
    if closed:
        ring = np.concatenate([points[-1:], points, points[:2]])
    else:
        ring = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    p0, p1, p2, p3 = (ring[i : len(ring) - 3 + i, None, :] for i in range(4))
    curve = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


def stroke(points: Points, width: float) -> Points:
    """Return the outline of a line of `width` with round ends along `points`."""
    along = np.gradient(points, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1])[:, None], 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * (width / 2)
    return np.concatenate([
        points + across,
        _cap(points[-1], across[-1]),
        (points - across)[::-1],
        _cap(points[0], -across[0]),
    ])  # fmt: skip


def _cap(centre: Points, across: Points) -> Points:
    start = math.degrees(math.atan2(across[1], across[0]))
    radius = float(np.hypot(across[0], across[1]))
    return sector(float(centre[0]), float(centre[1]), radius, radius, start, start - 180)[3:-3:6]


def dense(points: Points, step: float) -> Points:
    """Return the closed outline with a point at least every `step` units."""
    after = np.roll(points, -1, axis=0)
    lengths = np.hypot(*(after - points).T)
    pieces = np.clip(np.ceil(lengths / step), 1, 400).astype(int)
    return np.concatenate([
        a + (b - a) * np.linspace(0, 1, n, endpoint=False)[:, None]
        for a, b, n in zip(points, after, pieces, strict=True)
    ])  # fmt: skip


def wobbled(points: Points, amount: float, phase: float, *, wave: float = 9.0) -> Points:
    """Return the outline as an unsteady hand draws it.

    Args:
        points: A closed outline.
        amount: How far a point may stray, in units.
        phase: Two hands with different phases stray differently.
        wave: Length of the unsteadiness, in units.
    """
    fine = dense(points, wave / 3)
    x, y = fine[:, 0] / wave, fine[:, 1] / wave
    stray = np.stack([
        np.sin(2.1 * y + phase) + 0.6 * np.sin(3.7 * x + 1.7 * phase),
        np.sin(2.3 * x + 2.3 * phase) + 0.6 * np.sin(3.1 * y + 0.7 * phase),
    ], axis=1)  # fmt: skip
    result: Points = fine + amount * stray
    return result


def extent(points: Points) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of an outline."""
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)
