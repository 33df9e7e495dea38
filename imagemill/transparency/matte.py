"""From a segmenter's rough mask to an alpha that follows the picture's own edges."""

import numpy as np
from numpy.typing import NDArray

from imagemill.quality.check import OPAQUE, Mask, Picture
from imagemill.quality.colour import luma
from imagemill.quality.regions import border as border_of
from imagemill.quality.regions import box_sum, grown, reachable, shrunk, without_small
from imagemill.quality.spreading import spread

_RADIUS = 0.012
"""Reach of the guided filter, share of the shorter side: masks are computed at 320 px."""
_EPSILON = 40.0
"""Variance in levels² below which the guide is taken for flat."""
_HOLE = 0.01
"""Share of the subject; larger holes are meant. u2netp punches smaller ones into pale areas
(`facts/models.md`, 1)."""
_SPECK = 0.02
"""Share of the largest piece below which a piece is dropped."""


def matted(picture: Picture, rough: NDArray[np.uint8]) -> Picture:
    """Return the picture with an alpha refined from a rough mask, edge colours cleaned.

    Args:
        picture: H x W x 4, alpha ignored; not changed.
        rough: H x W, 0 to 255.

    Returns:
        H x W x 4, straight alpha.
    """
    solid = without_specks(rough >= OPAQUE)
    alpha = guided(luma(picture), solid, max(2, round(_RADIUS * min(rough.shape))))
    near = max(2, round(_RADIUS * min(rough.shape)))
    alpha[shrunk(solid, 2 * near)] = 1.0
    alpha[~grown(solid, 2 * near)] = 0.0
    alpha = np.clip((alpha - 0.1) / 0.8, 0, 1)
    inside, known = spread(picture[..., :3].astype(np.float32), alpha > 0.95, steps=6)
    out = picture.copy()
    soft = known & (alpha > 0) & (alpha <= 0.95)
    out[soft, :3] = np.clip(np.round(inside[soft]), 0, 255).astype(np.uint8)
    out[..., 3] = np.round(255 * alpha).astype(np.uint8)
    return out


def without_specks(solid: Mask) -> Mask:
    """Return the mask without small pieces and without small holes."""
    if not solid.any():
        return solid
    outside = reachable(~solid, border_of(solid.shape))
    holes = ~solid & ~outside
    filled = solid | (holes & ~without_small(holes, max(1, round(_HOLE * solid.sum()))))
    return without_small(filled, max(1, round(_SPECK * filled.sum())))


def guided(
    guide: NDArray[np.float32], mask: Mask, radius: int
) -> NDArray[np.float64]:  # fmt: skip
    """Return the mask, 0 to 1, with its edges moved to the guide's (He et al., guided filter)."""
    count = box_sum(np.ones(mask.shape), radius)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return box_sum(values, radius) / count

    bright, shape = guide.astype(np.float64), mask.astype(np.float64)
    middle, level = mean(bright), mean(shape)
    slope = (mean(bright * shape) - middle * level) / (
        mean(bright * bright) - middle * middle + _EPSILON
    )
    return mean(slope) * bright + mean(level - slope * middle)
