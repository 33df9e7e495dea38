"""Spreading known colours over the pixels beside them, a pixel a step."""

import numpy as np
from numpy.typing import NDArray

from imagemill.quality.check import Mask

AROUND = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


def spread(
    colour: NDArray[np.float32], known: Mask, *, steps: int
) -> tuple[NDArray[np.float32], Mask]:
    """Give unknown pixels the mean of their known neighbours, `steps` times.

    Args:
        colour: H x W x C.
        known: H x W; where `colour` holds.
        steps: How many pixels far.

    Returns:
        H x W x C with known pixels unchanged, and H x W what is known now.
    """
    out = colour.copy()
    known = known.copy()
    height, width = known.shape
    for _ in range(steps):
        rim_y, rim_x = np.nonzero(_beside(known) & ~known)
        if len(rim_y) == 0:
            break
        total = np.zeros((len(rim_y), colour.shape[2]), np.float32)
        count = np.zeros(len(rim_y), np.float32)
        for dy, dx in AROUND:
            y, x = rim_y + dy, rim_x + dx
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
            weight = (inside & known[y, x]).astype(np.float32)
            total += out[y, x] * weight[:, None]
            count += weight
        out[rim_y, rim_x] = total / count[:, None]
        known[rim_y, rim_x] = True
    return out, known


def _beside(mask: Mask) -> Mask:
    wide = np.pad(mask, 1)
    height, width = mask.shape
    near = np.zeros_like(mask)
    for dy, dx in AROUND:
        near |= wide[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
    return near
