"""Checks of the alpha channel: there, of use, clean at the border, no specks, no fringe."""

import numpy as np

from imagemill.quality.check import OPAQUE, Check, Picture, at_least, at_most
from imagemill.quality.colour import visible
from imagemill.quality.regions import grown, label
from imagemill.quality.spreading import spread

COVERAGE = (0.02, 0.95)
"""Share of the picture a subject covers. Measured on 150 sprites: 0.09 to 0.65; the band is
wider, since a dagger is thin and a crate nearly square."""
BORDER_TRANSPARENCY = 0.8
"""The document, 4.2 `check_transparency`: less is an issue."""
STRAY_AREA = 0.01
"""An island smaller than this share of the largest is a speck (`facts/models.md`, 2.4)."""
STRAY_GAP = 0.04
"""Share of the shorter side that parts a speck from the subject; sparkles are drawn nearer."""
HALO_LEVELS = 24.0
"""Measured on 150 sprites: 149 clean ones up to 22 (one, painted with a dark rim under its snow, 35);
planted white, green or black fringes at least 30, save white on a white ghost, which is none."""
CLIPPED_RUN = 0.02
"""Longest run of subject along one side of the border, as a share of that side."""
BACKGROUND_LEFT = 0.0005
"""Share of the picture: 131 pixels of 512 x 512, a spot that one sees on another ground."""
_LIKE = 40
"""Levels of the worst channel, over what JPEG does to a flat colour."""
_FEW = 16
"""Fewer soft pixels than this are no edge to judge."""


def alpha_present(picture: Picture) -> Check:
    """Tell whether anything is transparent: the share of pixels that are not wholly opaque."""
    share = float((picture[..., 3] < 255).mean())
    return at_least(
        "alpha_present", share, 0.001, "Cut the background out: the picture is wholly opaque.",
        unit="share",
    )  # fmt: skip


def coverage(picture: Picture) -> Check:
    """Tell whether the subject fills neither next to nothing nor all of the picture."""
    share = float(visible(picture).mean())
    low, high = COVERAGE
    remedy = "Make the subject larger." if share < low else "Cut the background out."
    return Check(
        name="coverage", value=round(share, 4), threshold=COVERAGE, passed=low <= share <= high,
        remedy="" if low <= share <= high else remedy,
    )  # fmt: skip


def background_left(picture: Picture, background: str) -> Check:
    """Tell whether some of the flat background is still there, in a gap that the cut did not reach.

    The share of the picture that is visible and within `_LIKE` levels of `background` (`#rrggbb`).
    """
    away = np.abs(picture[..., :3].astype(np.int16) - list(bytes.fromhex(background[1:])))
    share = float(((away.max(axis=-1) <= _LIKE) & visible(picture)).mean())
    return at_most(
        "background_left", share, BACKGROUND_LEFT,
        "Leave no gap in the subject through which only the background is seen.", unit="share",
    )  # fmt: skip


def border_transparency(picture: Picture) -> Check:
    """Tell whether the outermost pixels are transparent (alpha 0): at least 80 %."""
    return at_least(
        "border_transparency", transparent_border(picture), BORDER_TRANSPARENCY,
        "Cut the background out up to the border, corners included.", unit="share",
    )  # fmt: skip


def transparent_border(picture: Picture) -> float:
    """Return the share of border pixels with alpha 0, counted as in the document (4.2)."""
    alpha = picture[..., 3]
    ring = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    return float((ring == 0).mean())


def stray_pixels(picture: Picture) -> Check:
    """Count the pixels of small islands far from the subject, however faint."""
    labels, area = label(picture[..., 3] > 0)
    count = 0
    if len(area) > 2:
        small = area < STRAY_AREA * area.max()
        small[0] = False
        large = ~small
        large[0] = False
        gap = max(2, round(STRAY_GAP * min(labels.shape)))
        near = np.unique(labels[grown(large[labels], gap)])
        small[near] = False
        count = int(area[small].sum())
    return at_most(
        "stray_pixels", count, 0, "Remove the specks away from the subject.", unit="px"
    )  # fmt: skip


def halo(picture: Picture) -> Check:
    """Measure a fringe: how far soft edge pixels lean from the opaque pixels beside them.

    The mean difference of colour is taken over all soft pixels, so that shading cancels and only a
    lean towards one colour, that of a background left in, remains. Opaque fringes are not judged:
    a sticker's rim is one on purpose.
    """
    alpha = picture[..., 3]
    solid = alpha >= 250
    soft = (alpha >= 24) & (alpha <= 232) & grown(solid, 3) & grown(alpha == 0, 3)
    if soft.sum() < _FEW:
        lean = 0.0
    else:
        inside, known = spread(picture[..., :3].astype(np.float32), solid, steps=3)
        soft &= known
        lean = float(np.linalg.norm((picture[..., :3] - inside)[soft].mean(axis=0)))
    return at_most(
        "halo", lean, HALO_LEVELS, "Unmix the background's colour from the edges.", unit="levels"
    )  # fmt: skip


def clipped(picture: Picture) -> Check:
    """Tell whether the subject is cut by the picture's border: the longest run along a side."""
    solid = picture[..., 3] >= OPAQUE
    sides = (solid[0], solid[-1], solid[:, 0], solid[:, -1])
    run = max(_longest_run(side) / len(side) for side in sides)
    return at_most(
        "clipped", run, CLIPPED_RUN, "Show the whole subject, with room on every side.",
        unit="share",
    )  # fmt: skip


def _longest_run(line: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(np.int8), [0]])))
    return int(np.diff(edges)[::2].max(initial=0))
