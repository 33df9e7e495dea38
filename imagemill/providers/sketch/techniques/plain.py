"""Techniques of plain colour: flat shapes, pixels, printed posters."""

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from imagemill.providers.sketch.colour import Colour, luma, mix
from imagemill.providers.sketch.scene import Layer
from imagemill.providers.sketch.stage import (
    OVERSAMPLE,
    Stage,
    contour,
    corners,
    fill,
    grain,
    grown,
    mask,
    noise,
    painted,
    shifted,
    sky,
)  # fmt: skip

PIXEL_CELLS = 96
"""Cells along the short side of a pixel picture."""
PIXEL_COLOURS = 24


def flat(stage: Stage) -> Image.Image:
    """Clean shapes with one soft side shadow on each subject."""
    stage = stage.toned(0.3, 0.14)
    image = painted(stage)
    heroes = mask(stage, stage.scene.of(Layer.HERO))
    d = stage.px(2.2)
    core = ImageChops.darker(heroes, ImageChops.invert(shifted(heroes, -d, -d * 0.6)))
    front = mask(stage, stage.scene.of(Layer.FRONT))
    core = ImageChops.darker(core, ImageChops.invert(front))
    image.paste((26, 24, 66), mask=core.point([round(v * 0.2) for v in range(256)]))
    return image


def pixel(stage: Stage) -> Image.Image:
    """A true low-resolution grid, few colours, a dark edge around subjects, no smoothing."""
    stage = stage.toned(0.2, 0.12)
    cell = max(1, min(stage.size) // PIXEL_CELLS)
    across, down = math.ceil(stage.width_px / cell), math.ceil(stage.height_px / cell)
    k = stage.unit / cell
    large = sky(stage).resize((across * 3, down * 3))
    fill(large, stage.scene.of(Layer.BACK, Layer.MIDDLE), k * 3)
    heroes = stage.scene.of(Layer.HERO)
    contour(large, heroes, k * 3, (34, 28, 52), 6)
    fill(large, heroes, k * 3)
    fill(large, stage.scene.of(Layer.FRONT), k * 3)
    small = large.resize((across, down), Image.Resampling.BOX)
    few = small.quantize(PIXEL_COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=2,
                         dither=Image.Dither.NONE).convert("RGB")  # fmt: skip
    whole = few.resize((across * cell, down * cell), Image.Resampling.NEAREST)
    return whole.crop((0, 0, *stage.size))


def _sunburst(stage: Stage, one: Colour, other: Colour) -> Image.Image:
    large = Image.new("RGB", (stage.width_px * OVERSAMPLE, stage.height_px * OVERSAMPLE), one)
    k = stage.unit * OVERSAMPLE
    x, y = stage.scene.width / 2, stage.scene.height * 0.62
    reach = stage.scene.width + stage.scene.height
    draw = ImageDraw.Draw(large)
    for i in range(20):
        turn = np.array([0.0, math.pi / 20]) + i * math.pi / 10
        rim = np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], axis=1)
        draw.polygon(corners(np.concatenate([[(x, y)], rim]), k), fill=other)
    return large


def poster(stage: Stage) -> Image.Image:
    """A few inks on old paper: sunburst, slight misprint, worn ink, framed."""
    inks = sorted(stage.palette or ((40, 50, 70), (210, 90, 60), (245, 230, 200)), key=luma)
    paper = inks[-1]
    stage = stage.toned(0.85, 0.55)
    burst = _sunburst(stage, mix(paper, inks[-2], 0.35), mix(paper, inks[-2], 0.75))
    if stage.scene.dark:
        burst = _sunburst(stage, inks[0], mix(inks[0], inks[1], 0.4))
    land = [p for p in stage.scene.patches if p.layer is not Layer.BACK or _low(stage, p.points)]
    image = fill(burst, land, stage.unit * OVERSAMPLE).reduce(OVERSAMPLE)
    heroes = mask(stage, stage.scene.of(Layer.HERO))
    rim = ImageChops.subtract(grown(heroes, stage.px(0.7)), heroes)
    image.paste(inks[0], mask=shifted(rim, stage.px(0.4), stage.px(0.4)))
    worn = grain(stage, 0.35).point([255 if v > 214 else 0 for v in range(256)])
    patchy = noise(stage, 5).point([v // 3 for v in range(256)])
    image.paste(paper, mask=ImageChops.multiply(worn, patchy))
    return _framed(image, paper, inks[0], stage)


def _low(stage: Stage, points: np.ndarray) -> bool:
    return bool(points[:, 1].max() > stage.scene.height * 0.62)


def _framed(image: Image.Image, paper: Colour, ink: Colour, stage: Stage) -> Image.Image:
    draw = ImageDraw.Draw(image)
    w, h = image.size
    outer, line = round(stage.px(3.4)), max(1, round(stage.px(0.6)))
    for inset in range(outer):
        draw.rectangle((inset, inset, w - 1 - inset, h - 1 - inset), outline=paper)
    draw.rectangle((outer, outer, w - 1 - outer, h - 1 - outer), outline=ink, width=line)
    return image
