"""The checkerboard that models paint where they were asked for transparency."""

import numpy as np
from numpy.typing import NDArray

from imagemill.quality.check import Check, Picture, at_most
from imagemill.quality.colour import luma

CELLS_PX = (4, 64)
"""Smallest and largest side of a square looked for; editors draw 8 to 32."""
SHARE = 0.03
"""Measured on 150 drawings at 256 px: clean ones up to 0.021 (an envelope in pixel art), boards of
8 to 32 px at least 0.045 behind them."""
_CONTRAST = (8.0, 140.0)
"""Levels between the two greys; the usual white and #cccccc are 51 apart."""
_SAME = 7.0
"""Levels within which two pixels are the same grey: what JPEG adds."""
_CHROMA = 14
_SAMPLES = 160
"""Points looked at along each side: enough for a share of 0.1 %, quick on 2K."""


def checkerboard(picture: Picture) -> Check:
    """Measure the share of the picture in which opaque greys alternate like a checkerboard.

    A pixel counts for squares of c px if the pixels c to the right and c below are one other grey,
    and the pixel diagonally is its own.
    """
    bright = luma(picture)
    rgb = picture[..., :3].astype(np.int16)
    grey = (rgb.max(axis=-1) - rgb.min(axis=-1) <= _CHROMA) & (picture[..., 3] >= 250)
    bright = np.where(grey, bright, np.float32(np.nan))
    largest = min(CELLS_PX[1], (min(bright.shape) - 1) // 2)
    share = max((_share(bright, c) for c in range(CELLS_PX[0], largest + 1)), default=0.0)
    return at_most(
        "checkerboard", share, SHARE,
        "Ask for a plain background: the checkerboard is painted, not transparent.", unit="share",
    )  # fmt: skip


def _share(bright: NDArray[np.float32], cell: int) -> float:
    height, width = bright.shape
    y = _points(height, cell)
    x = _points(width, cell)

    def at(down: int, right: int) -> NDArray[np.float32]:
        return bright[np.ix_(y + down * cell, x + right * cell)]

    here = at(0, 0)
    with np.errstate(invalid="ignore"):
        contrast = np.abs(at(0, 1) - here)
        low, high = _CONTRAST
        found = (contrast >= low) & (contrast <= high)
        found &= np.abs(at(0, 1) - at(1, 0)) <= _SAME
        found &= np.abs(at(1, 1) - here) <= _SAME
    seen: float = (height - cell) * (width - cell) / (height * width)
    return float(found.mean()) * seen


def _points(size: int, cell: int) -> NDArray[np.int64]:
    last = size - 1 - cell
    return np.unique(np.linspace(0, last, min(_SAMPLES, last + 1)).astype(np.int64))
