"""How a picture is drawn, in numbers that do not depend on what it shows.

Each trait is one number; a pack's traits are compared by `imagemill.pack.consistency`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagemill.quality.check import Mask, Picture
from imagemill.quality.colour import lab, luma, parse_palette, visible
from imagemill.quality.grid import find_grid
from imagemill.quality.regions import shrunk
from imagemill.quality.sharpness import noise_sigma

SIDE_PX = 256
"""Traits are measured on pictures of at most this longer side, so that sizes may differ."""
_POOL_COLOURS = 32
_SAMPLES = 6_000
_FLAT_LEVELS = 3

TRAITS = ("lightness", "contrast", "colourfulness", "vividness", "rim", "detail", "flatness", "softness",
          "grain", "grid")  # fmt: skip
"""Of one picture alone; `palette` needs the others, too."""


def traits_of(picture: Picture) -> dict[str, float]:
    """Return the traits of a cut-out by name. CPU: 0.2 s for 512 px; call it in a thread.

    `lightness`, `contrast` (between the 5th and 95th percentile) and `colourfulness` are in units of
    L*a*b*; `outline` is how much darker the rim is than the inside, in levels; `detail` the mean
    step between neighbouring pixels inside, in levels; `flatness` and `softness` the shares of
    inner pixels like their neighbours and of half-transparent ones, in percent; `grain` the noise in
    levels; `grid` how certainly edges lie on a pixel grid, 0 to 100.
    """
    grid = find_grid(picture)
    small = _reduced(picture)
    solid = visible(small)
    if solid.sum() < 64:
        return dict.fromkeys(TRAITS, 0.0)
    bright = luma(small).astype(np.float64)
    inner = shrunk(solid, 3)
    if not inner.any():
        inner = solid
    colours = lab(sampled(small)).astype(np.float64)
    low, high = np.quantile(colours[:, 0], (0.05, 0.95))
    chroma = np.hypot(colours[:, 1], colours[:, 2])
    steps = _steps(bright, inner)
    return {
        "lightness": float(np.median(colours[:, 0])),
        "contrast": float(high - low),
        "colourfulness": float(chroma.mean()),
        "vividness": float(np.quantile(chroma, 0.97)),
        "rim": float(np.median(bright[solid & ~shrunk(solid, 1)])),
        "detail": float(steps.mean()) if steps.size else 0.0,
        "flatness": float(100 * (steps < _FLAT_LEVELS).mean()) if steps.size else 0.0,
        "softness": _softness(small, solid),
        "grain": noise_sigma(small),
        "grid": 100 * grid.certainty if grid else 0.0,
    }


def palette_distance(
    picture: Picture, others: Sequence[Picture], palette: Sequence[str] = ()
) -> float:
    """Return how far, in units of L*a*b*, the visible colours are from those of the pack.

    The mean distance to the nearest of the 32 colours that stand for all others and of those that
    the style guide names.

    Args:
        picture: Whose colours are judged.
        others: The rest of the pack.
        palette: `#rrggbb` colours that are the pack's, used or not.
    """
    own = sampled(picture)
    stands = _stands(others)
    if palette:
        stands = np.concatenate([stands, lab(parse_palette(palette))])
    if not len(stands) or not len(own):
        return 0.0
    mine = lab(own[:: max(1, len(own) // 1500)])
    off = np.linalg.norm(mine[:, None] - stands[None], axis=-1).min(axis=1)
    return float(off.mean())


def _stands(others: Sequence[Picture]) -> NDArray[np.float32]:
    pool = [sampled(other) for other in others]
    together = np.concatenate(pool) if pool else np.zeros((0, 3), np.uint8)
    if not len(together):
        return np.zeros((0, 3), np.float32)
    strip = Image.fromarray(np.ascontiguousarray(together[None]))
    few = strip.quantize(_POOL_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return lab(np.array(few.getpalette(), np.uint8).reshape(-1, 3)[:_POOL_COLOURS])


def sampled(picture: Picture) -> NDArray[np.uint8]:
    """Return at most some thousand of the visible pixels' colours, N x 3, evenly taken."""
    seen = picture[visible(picture)][:, :3]
    return seen[:: max(1, len(seen) // _SAMPLES)]


def _reduced(picture: Picture) -> Picture:
    if max(picture.shape[:2]) <= SIDE_PX:
        return picture
    image = Image.fromarray(picture)
    image.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    return np.asarray(image)


def _steps(bright: NDArray[np.float64], inner: Mask) -> NDArray[np.float64]:
    across = np.abs(np.diff(bright, axis=1))[inner[:, 1:] & inner[:, :-1]]
    down = np.abs(np.diff(bright, axis=0))[inner[1:] & inner[:-1]]
    return np.concatenate([across, down])


def _softness(picture: Picture, solid: Mask) -> float:
    alpha = picture[..., 3]
    rim = solid & ~shrunk(solid, 1)
    return float(((alpha > 8) & (alpha < 247)).sum() / max(1, rim.sum()))
