"""Colours of pixel art: how many, whether they are the palette's, and making them so."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagemill.quality.check import MAX_COLORS, Check, Picture, at_least, at_most
from imagemill.quality.colour import colours_of, lab, parse_palette

PALETTE_SHARE = 0.99
"""Share of the subject's pixels that must be of the palette."""
PALETTE_LEVELS = 8
"""Largest difference in a channel that still counts as the palette's colour (lossy WebP)."""
_CHUNK = 65536


def colour_count(picture: Picture, *, max_colors: int = MAX_COLORS) -> Check:
    """Count the colours of pixels that are not wholly transparent (the document: at most 64)."""
    return at_most(
        "colour_count", len(colours_of(picture)), max_colors,
        f"Use at most {max_colors} colours: snap the picture to a palette.", unit="colours",
    )  # fmt: skip


def palette_kept(picture: Picture, palette: Sequence[str]) -> Check:
    """Measure the share of the visible pixels that have a colour of the palette.

    Args:
        picture: The picture.
        palette: `#rrggbb` colours, at least one.
    """
    seen = picture[picture[..., 3] > 0][:, :3]
    allowed = parse_palette(palette).astype(np.int16)
    colours, number = np.unique(seen, axis=0, return_inverse=True)
    off = np.full(len(colours), 255, np.int16)
    for colour in allowed:
        off = np.minimum(off, np.abs(colours.astype(np.int16) - colour).max(axis=1))
    share = float((off <= PALETTE_LEVELS)[number].mean()) if len(seen) else 1.0
    return at_least(
        "palette", share, PALETTE_SHARE, "Snap the picture to the palette.", unit="share"
    )


def snap_to_palette(picture: Picture, palette: Sequence[str]) -> Picture:
    """Return the picture with each visible colour replaced by the nearest of the palette.

    Args:
        picture: Not changed.
        palette: `#rrggbb` colours, at least one. Nearness is CIE76 in L*a*b*.

    Returns:
        H x W x 4; alpha is unchanged, wholly transparent pixels keep their colour.
    """
    allowed = parse_palette(palette)
    out = picture.copy()
    shown = picture[..., 3] > 0
    colours, number = np.unique(picture[shown][:, :3], axis=0, return_inverse=True)
    target = lab(allowed)
    chosen = [
        _nearest(lab(colours[i : i + _CHUNK]), target) for i in range(0, len(colours), _CHUNK)
    ]
    if chosen:
        out[shown, :3] = allowed[np.concatenate(chosen)][number.ravel()]
    return out


def _nearest(colours: NDArray[np.float32], palette: NDArray[np.float32]) -> NDArray[np.int64]:
    best = np.full(len(colours), np.inf, np.float32)
    index = np.zeros(len(colours), np.int64)
    for i, colour in enumerate(palette):
        distance = ((colours - colour) ** 2).sum(axis=1)
        index[distance < best] = i
        best = np.minimum(best, distance)
    return index
