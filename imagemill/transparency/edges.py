"""Unmixing the background from edge pixels, so that no fringe of it is left."""

import numpy as np
from numpy.typing import NDArray

from imagemill.quality.check import Mask, Picture
from imagemill.quality.regions import grown, shrunk
from imagemill.quality.spreading import spread

_NEIGHBOURS = tuple(
    (dy, dx) for dy in range(-3, 4) for dx in range(-3, 4) if 0 < dy * dy + dx * dx <= 10
)
_BACK = 5
"""Pixels that the background's colour is carried into the subject."""
_STRAIGHT = 0.3
"""Largest sideways part of a neighbour's difference from the background, as a share of it."""
_FLAT = 14.0
"""RGB distance below which a pixel and one deeper inside are one flat colour, unmixed."""
_LEAST = 12.0
"""RGB distance from the background below which mixing cannot be measured."""


def unmixed(picture: Picture, background: Mask) -> Picture:
    """Cut along `background`, giving edge pixels the alpha and the colour of the subject alone.

    A pixel I at the edge is read as alpha * F + (1 - alpha) * B. B is the background's colour
    beside it, F the colour among its neighbours that lies farthest from B in the same direction:
    an outline's where there is one. Pixels of one flat colour with their inner neighbour are left
    opaque.

    Args:
        picture: H x W x 4, alpha ignored; not changed.
        background: H x W.

    Returns:
        H x W x 4, straight alpha; wholly transparent pixels are 0.
    """
    colour = picture[..., :3].astype(np.float32)
    sure = shrunk(background, 1)
    ground, known = spread(colour, sure, steps=_BACK)
    band = known & ~sure & grown(background, 2) & grown(~background, 1)
    alpha = np.where(background, np.float32(0), np.float32(1))
    y, x = np.nonzero(band)
    own, back = colour[y, x], ground[y, x]
    share, full = _mixing(colour, own - back, back, (y, x), ~background)
    far = np.linalg.norm(own - back, axis=1) > 2 * _LEAST
    share[far & ~background[y, x] & _flat(colour, own, (y, x), shrunk(~background, 1))] = 1.0
    share[(share < 0.06) | (background[y, x] & (share < 0.15))] = 0.0
    share[share > 0.96] = 1.0
    alpha[y, x] = share
    out = np.zeros_like(picture)
    out[..., :3] = picture[..., :3]
    soft = (share > 0) & (share < 1)
    out[y[soft], x[soft], :3] = np.clip(np.round(back + full), 0, 255)[soft].astype(np.uint8)
    out[..., 3] = np.round(255 * alpha).astype(np.uint8)
    out[out[..., 3] == 0] = 0
    return out


Where = tuple[NDArray[np.int64], NDArray[np.int64]]


def _mixing(
    colour: NDArray[np.float32], lean: NDArray[np.float32], back: NDArray[np.float32], at: Where,
    subject: Mask,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Return each pixel's alpha and the difference F - B that explains it."""
    length = np.linalg.norm(lean, axis=1)
    unit = lean / np.maximum(length, 1e-6)[:, None]
    best, full = length.copy(), lean.copy()
    for dy, dx in _NEIGHBOURS:
        y = np.clip(at[0] + dy, 0, subject.shape[0] - 1)
        x = np.clip(at[1] + dx, 0, subject.shape[1] - 1)
        other = colour[y, x] - back
        along = (other * unit).sum(axis=1)
        aside = np.linalg.norm(other - along[:, None] * unit, axis=1)
        better = subject[y, x] & (along > best) & (aside < _STRAIGHT * along)
        best = np.where(better, along, best)
        full = np.where(better[:, None], other, full)
    share = np.where(best < _LEAST, subject[at].astype(np.float32), length / np.maximum(best, 1e-6))
    return np.clip(share, 0, 1).astype(np.float32), full


def _flat(
    colour: NDArray[np.float32], own: NDArray[np.float32], at: Where, deeper: Mask
) -> NDArray[np.bool_]:
    """Tell which pixels have a neighbour of their own colour deeper in the subject."""
    found = np.zeros(len(own), bool)
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        y = np.clip(at[0] + dy, 0, deeper.shape[0] - 1)
        x = np.clip(at[1] + dx, 0, deeper.shape[1] - 1)
        found |= deeper[y, x] & (np.linalg.norm(colour[y, x] - own, axis=1) < _FLAT)
    return found
