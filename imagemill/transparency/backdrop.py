"""A plain background: fitting its colour from the border and flooding it.

After `facts/models.md`, 2, in numpy: the background is a smooth surface in L*a*b*, fitted to the
border, then to everything flooded so far, which also follows a glow in the middle that the border
does not show. Only what is connected to the border is background: a white belly stays.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imagemill.quality.check import Mask, Picture
from imagemill.quality.colour import lab
from imagemill.quality.regions import border, box_sum, grown, reachable, shrunk, without_small
from imagemill.quality.spreading import spread

PLAIN_SHARE = 0.9
"""Share of border pixels near the fit for a background to be plain (`facts/models.md`, 2.2:
plain pictures have 1.00, a scene 0.65)."""
NEAR = 8.0
"""Distance in L*a*b* of a border pixel near the fit (likewise)."""
LEAST_TOLERANCE = 5.0
"""Smallest distance that is background; the larger of this and 3.5 sigma counts (likewise, 2.3,
which has 6; at 6 a pale ghost on white was flooded)."""
_SIGMAS = 3.5
_RING = 0.02
"""Depth of the border fitted, share of the shorter side (likewise, 2.1)."""
_SHADOW_CHROMA = 4.5
"""A shadow keeps the hue: distance in a*b* from the background's, faded as L* is. (A ghost of
#f5f5ff on white, 5.2 away, is not a shadow.)"""
_SHADOW_SLOPE = 2.5
"""L* a soft shadow changes from pixel to pixel at most; outlines change by 20 and more."""
_SHADOW_DEPTH = 55.0
"""L* that a shadow darkens at most."""
_SPECK = 0.0005
"""Share of the picture; smaller pieces of foreground are grain of the background."""

_HOLE = 0.0001
"""Share of the picture; a smaller enclosed area is a speck. Who opens holes says that nothing of the
subject has the background's colour, so the gap between two legs counts, however small."""

Distances = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A fitted background.

    Attributes:
        mask: H x W, what is background.
        plain_share: 0 to 1, share of border pixels near the fit; from 0.9 on it is plain.
        tolerance: Distance in L*a*b* that counted as background.
    """

    mask: Mask
    plain_share: float
    tolerance: float

    @property
    def plain(self) -> bool:
        """Whether there is a plain background to flood."""
        return self.plain_share >= PLAIN_SHARE


def find_backdrop(picture: Picture, *, open_holes: bool = False) -> Backdrop:
    """Fit the background and flood it from the border. CPU: 0.5 s for 512 px.

    Args:
        picture: Alpha is ignored.
        open_holes: Whether enclosed areas of the background's colour are background, too: the gap
            between two legs, but also a white belly on white.
    """
    seen = lab(picture)
    ring = border(picture.shape, max(2, round(_RING * min(picture.shape[:2]))))
    terms = _terms(picture.shape[0], picture.shape[1])
    away = _residual(seen, terms, ring)
    share = float((away[ring] < NEAR).mean())
    mask, tolerance = _flooded(away, ring)
    if share < PLAIN_SHARE:
        return Backdrop(mask, share, tolerance)
    for _ in range(2):
        away = _residual(seen, terms, mask | (ring & (away < tolerance)))
        mask, tolerance = _flooded(away, ring)
    mask = _with_shadow(picture, seen, mask, terms)
    if open_holes:
        mask = mask | without_small(away < tolerance, max(4, round(_HOLE * mask.size)))
    mask = ~without_small(~mask, max(4, round(_SPECK * mask.size)))
    return Backdrop(mask, share, tolerance)


def _terms(height: int, width: int) -> NDArray[np.float32]:
    """Return 1, x, y, xy, x², y² of each pixel, -1 to 1, H x W x 6."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1).astype(np.float32)


def _fit(seen: NDArray[np.float32], terms: NDArray[np.float32], where: Mask) -> Distances:
    """Return the background's L*a*b*, H x W x 3: least squares, outliers dropped three times."""
    a, b = terms[where], seen[where]
    stride = max(1, len(a) // 20000)
    a, b = a[::stride], b[::stride]
    keep = np.ones(len(a), bool)
    solution = np.zeros((terms.shape[-1], 3), np.float32)
    for _ in range(4):
        solution = np.linalg.lstsq(a[keep], b[keep], rcond=None)[0]
        error = np.linalg.norm(b - a @ solution, axis=1)
        keep = error <= max(2.0, 2.5 * float(np.median(error)))
    result: Distances = (terms @ solution).astype(np.float32)
    return result


def _residual(seen: NDArray[np.float32], terms: NDArray[np.float32], where: Mask) -> Distances:
    """Return each pixel's distance from the fitted background."""
    result: Distances = np.linalg.norm(seen - _fit(seen, terms, where), axis=-1)
    return result


def _flooded(away: Distances, ring: Mask) -> tuple[Mask, float]:
    """Return the background connected to the border, and the tolerance used.

    It flows where distances, averaged over 3 x 3, are small and the way is at least 3 px wide, so
    that grain does not stop it nor a gap in an outline let it in; its edge is then drawn by pixel.
    """
    smooth = box_sum(away.astype(np.float64), 1) / box_sum(np.ones(away.shape), 1)
    near = away[ring & (away < NEAR)]
    sigma = float(np.sqrt((near.astype(np.float64) ** 2).mean())) if near.size else 0.0
    tolerance = min(2 * NEAR, max(LEAST_TOLERANCE, _SIGMAS * sigma))
    wide = reachable(shrunk(smooth < tolerance, 1), ring)
    return grown(wide, 3) & (away < tolerance), tolerance


def _with_shadow(
    picture: Picture, seen: NDArray[np.float32], mask: Mask, terms: NDArray[np.float32]
) -> Mask:
    """Return the background with soft shadows that begin in it.

    A soft shadow is the background, darker, with no step in it; it ends where a step begins. A
    shadow with a hard edge is not told from a grey subject, and stays.
    """
    ground = _fit(seen, terms, mask)
    smooth = np.stack(
        [box_sum(seen[..., i].astype(np.float64), 1) for i in range(3)], axis=-1
    ) / box_sum(np.ones(mask.shape), 1)[..., None]  # fmt: skip
    darker = ground[..., 0] - smooth[..., 0]
    fade = np.clip(smooth[..., 0] / np.maximum(ground[..., 0], 1), 0, 1)[..., None]
    hue = np.linalg.norm(smooth[..., 1:] - ground[..., 1:] * fade, axis=-1)
    bright = np.pad(smooth[..., 0], 1, mode="edge")
    slope = np.maximum(
        np.abs(bright[1:-1, 2:] - bright[1:-1, :-2]), np.abs(bright[2:, 1:-1] - bright[:-2, 1:-1])
    ) / 2  # fmt: skip
    shade = (darker > -2) & (darker < _SHADOW_DEPTH) & (hue < _SHADOW_CHROMA)
    shade &= (slope < _SHADOW_SLOPE) & (picture[..., 3] > 0)
    reached = reachable(shrunk(shade | mask, 1), shrunk(mask, 1))
    found = mask | (grown(reached, 2) & shade)
    beside, known = spread(seen, found, steps=3)
    like = known & (np.linalg.norm(seen - beside, axis=-1) < LEAST_TOLERANCE)
    result: Mask = found | reachable(found | like, found)
    return result
