"""Regions of a mask: connected pieces, growing, shrinking, holes. Numpy only, no scipy.

Every mask is H x W bool. Pieces are labelled by the runs of their rows, so that the cost follows
the number of runs: 10 ms for a 512 px sprite, 0.2 s for pure noise.
"""

import numpy as np
from numpy.typing import NDArray

from imagemill.quality.check import Mask

Labels = NDArray[np.int32]


def label(mask: Mask, *, diagonal: bool = True) -> tuple[Labels, NDArray[np.int64]]:
    """Number the connected pieces of a mask.

    Args:
        mask: H x W.
        diagonal: Whether pixels that touch at a corner are connected (8 neighbours, else 4).

    Returns:
        H x W labels, 0 where the mask is false, and the area in pixels of each label (the first
        entry belongs to label 0 and is 0).
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    row, start = np.nonzero(change == 1)
    _, stop = np.nonzero(change == -1)
    if len(row) == 0:
        return np.zeros(mask.shape, np.int32), np.zeros(1, np.int64)
    root = _roots(len(row), *_touching(row, start, stop, width, reach=int(diagonal)))
    names, number = np.unique(root, return_inverse=True)
    length = stop - start
    flat = np.zeros(height * width, np.int32)
    flat[np.flatnonzero(mask.ravel())] = np.repeat(number + 1, length)
    area = np.bincount(number, weights=length, minlength=len(names)).astype(np.int64)
    return flat.reshape(height, width), np.concatenate([np.zeros(1, np.int64), area])


def _touching(
    row: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64], width: int, *,
    reach: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Return pairs of runs, one under the other, that touch."""
    stride = width + 4
    first = np.searchsorted(row * stride + stop, (row - 1) * stride + start - reach, side="right")
    last = np.searchsorted(row * stride + start, (row - 1) * stride + stop + reach, side="left")
    count = np.maximum(last - first, 0)
    below = np.repeat(np.arange(len(row)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(first, count) + within, below


def _roots(count: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the smallest member of each run's piece: union by minimum, paths halved."""
    parent = np.arange(count)
    while len(one):
        a, b = parent[one], parent[other]
        differ = a != b
        if not differ.any():
            break
        one, other, a, b = one[differ], other[differ], a[differ], b[differ]
        np.minimum.at(parent, np.maximum(a, b), np.minimum(a, b))
        while True:
            shorter = parent[parent]
            if (shorter == parent).all():
                break
            parent = shorter
    return parent


def box_sum(values: NDArray[np.float64] | Mask, radius: int) -> NDArray[np.float64]:
    """Return the sum over the square of side 2 * `radius` + 1 around each pixel; outside is 0."""
    total = np.asarray(values, np.float64)
    for axis in (0, 1):
        size = total.shape[axis]
        running = np.insert(np.cumsum(total, axis=axis), 0, 0.0, axis=axis)
        upper = np.minimum(np.arange(size) + radius + 1, size)
        lower = np.maximum(np.arange(size) - radius, 0)
        total = np.take(running, upper, axis=axis) - np.take(running, lower, axis=axis)
    return total


def grown(mask: Mask, radius: int) -> Mask:
    """Return the mask widened by `radius` pixels in each direction, corners included."""
    result: Mask = box_sum(mask, radius) > 0.5
    return result


def shrunk(mask: Mask, radius: int) -> Mask:
    """Return the mask narrowed by `radius` pixels; the picture's border does not narrow it."""
    return ~grown(~mask, radius)


def border(shape: tuple[int, ...], depth: int = 1) -> Mask:
    """Return the mask of the outermost `depth` pixels."""
    ring = np.ones(shape[:2], bool)
    if min(shape[:2]) > 2 * depth:
        ring[depth:-depth, depth:-depth] = False
    return ring


def reachable(mask: Mask, seeds: Mask, *, diagonal: bool = False) -> Mask:
    """Return the pieces of `mask` that hold at least one pixel of `seeds`."""
    labels, area = label(mask, diagonal=diagonal)
    wanted = np.zeros(len(area), bool)
    wanted[labels[seeds & mask]] = True
    wanted[0] = False
    result: Mask = wanted[labels]
    return result


def without_small(mask: Mask, least_px: int) -> Mask:
    """Return the mask without its pieces of fewer than `least_px` pixels."""
    labels, area = label(mask)
    keep = area >= least_px
    keep[0] = False
    result: Mask = keep[labels]
    return result
