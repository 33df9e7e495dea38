"""Sharpness, noise and blankness, judged where there is subject.

The document measures the variance of the Laplacian over the whole picture (4.2, at least 100). On
its own it rewards noise, six to twelve times the clean value (`facts/models.md`, 7), and it falls
with the picture's size, because most of a sprite is flat. Here it is taken around edges, and what
the noise contributes is subtracted.
"""

import numpy as np
from numpy.typing import NDArray

from imagemill.quality.check import Check, Mask, Picture, at_least, at_most
from imagemill.quality.colour import contrasting_ground, luma, on_ground, visible
from imagemill.quality.regions import grown, shrunk

SHARPNESS = 100.0
"""Variance of the Laplacian (the document, 4.2). Measured on 75 drawings: clean at least 760; blur
of radius 2 px at most 72, of 1 px 45 to 304: a blur that slight is found in some only."""
NOISE_SIGMA = 6.0
"""Standard deviation in levels. Clean pictures 0.9 to 2.4 (`facts/models.md`, 7); planted noise of 15
measures at least 8.9, on white cloud, where it clips."""
BLANK_LEVELS = 4.0
"""Standard deviation of the most varied channel; measured on 150 sprites: at least 54."""
_EDGE_RANGE = 32.0
"""Levels between the brightest and darkest of 11 x 11 pixels at an edge worth judging."""
_REACH = 5
"""Pixels around an edge in which its contrast is measured; a blur of radius 2 px spreads it so far."""
_CONTRAST = 100.0
"""Levels that every edge is scaled to, so that a pale edge may be sharp. Chosen on 75 drawings so that
the document's 100 parts clean ones from those blurred by 2 px."""
_INSIDE_SHARE = 0.02
"""Share of the interior that must lie at edges for the interior to be judged, not the outline."""
_CLEAR = 12.0
"""Standard deviations of noise that an edge's contrast must exceed to be measured through it."""
_WHITE_GAIN = 20.0
"""Variance of the 4-neighbour Laplacian of white noise of variance 1: 4 * 1 + 16."""
_IMMERKAER_GAIN = 6.0
"""Root of the sum of squares of Immerkaer's mask (J. Immerkaer, 1996)."""
_MAD = 0.6745
"""Median absolute deviation of a normal distribution, in standard deviations."""

Levels = NDArray[np.float32]


def sharpness(picture: Picture, *, noise_sigma: float = 0.0) -> Check:
    """Measure the variance of the Laplacian around edges, less the noise's share of it.

    Inner edges are judged if there are enough, else the outline on a contrasting ground, so that a
    blurred drawing with a crisply cut outline is blurred.

    Args:
        picture: The picture.
        noise_sigma: Of the picture, in levels; 20 times its square is subtracted.
    """
    variance = _inner_variance(picture, noise_sigma)
    value = _outline_variance(picture, noise_sigma) if variance is None else variance
    return at_least(
        "sharpness", value, SHARPNESS, "Ask for sharp, crisp edges without blur.", unit="levels²"
    )  # fmt: skip


def _inner_variance(picture: Picture, noise_sigma: float) -> float | None:
    """Return the variance of the Laplacian at edges inside the subject, None if they are too few.

    Only solid pixels are looked at, so that the outline is no edge.
    """
    solid = picture[..., 3] >= 250
    inside = shrunk(solid, 2)
    bright = luma(picture)
    contrast = _range(np.where(solid, bright, np.float32(np.nan)), _REACH)
    zone = inside & (contrast >= max(_EDGE_RANGE, _CLEAR * noise_sigma))
    if zone.sum() < max(64, _INSIDE_SHARE * inside.sum()):
        return None
    return _variance(bright, contrast, zone, noise_sigma)


def _outline_variance(picture: Picture, noise_sigma: float) -> float:
    """Return the variance of the Laplacian at the outline, on a contrasting ground."""
    bright = luma(on_ground(picture, contrasting_ground(picture)))
    contrast = _range(bright, _REACH)
    zone = grown(visible(picture), 3) & (contrast >= max(_EDGE_RANGE, _CLEAR * noise_sigma))
    return _variance(bright, contrast, zone, noise_sigma) if zone.any() else 0.0


def _variance(bright: Levels, contrast: Levels, zone: Mask, noise_sigma: float) -> float:
    """Return the Laplacian's variance in `zone` at the reference contrast, less the noise's."""
    excess = float(_laplacian(bright)[zone].var()) - _WHITE_GAIN * noise_sigma**2
    return max(0.0, excess) * _CONTRAST**2 / float((contrast[zone] ** 2).mean())


def noise(picture: Picture) -> Check:
    """Measure the noise inside the subject."""
    return at_most(
        "noise", noise_sigma(picture), NOISE_SIGMA, "Ask for clean, flat colour without grain.",
        unit="levels",
    )  # fmt: skip


def noise_sigma(picture: Picture) -> float:
    """Return the standard deviation of the noise in levels, 0 where nothing is flat enough to tell.

    The median over the subject of Immerkaer's mask, which neither gradients nor lines excite; edges
    are few enough not to move a median.
    """
    inside = shrunk(visible(picture), 3)
    if inside.sum() < 256:
        return 0.0
    worst = 0.0
    for channel in range(3):
        plane = picture[..., channel].astype(np.float32)
        worst = max(worst, float(np.median(np.abs(_immerkaer(plane))[inside])))
    return worst / _MAD / _IMMERKAER_GAIN


def blank(picture: Picture) -> Check:
    """Tell whether the picture is nearly one colour, or nothing at all."""
    seen = on_ground(picture, contrasting_ground(picture))
    spread = float(seen.reshape(-1, 3).std(axis=0).max())
    return at_least("blank", spread, BLANK_LEVELS, "Make the image again: it shows nothing.",
                    unit="levels")  # fmt: skip


def _laplacian(plane: Levels) -> Levels:
    p = np.pad(plane, 1, mode="edge")
    return p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * plane


def _immerkaer(plane: Levels) -> Levels:
    p = np.pad(plane, 1, mode="edge")
    rows = p[:-2] - 2 * p[1:-1] + p[2:]
    result: Levels = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return result


def _range(plane: Levels, radius: int) -> Levels:
    high, low = plane, plane
    for axis in (0, 1):
        pads = [(0, 0), (0, 0)]
        pads[axis] = (radius, radius)
        size = plane.shape[axis]
        tall, flat = np.pad(high, pads, mode="edge"), np.pad(low, pads, mode="edge")
        windows = [slice(i, i + size) for i in range(2 * radius + 1)]
        cut = [(w, slice(None)) if axis == 0 else (slice(None), w) for w in windows]
        high = np.fmax.reduce([tall[c] for c in cut])
        low = np.fmin.reduce([flat[c] for c in cut])
    result: Levels = high - low
    return result
