"""Techniques of solids: facets and blocks."""

import math
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from imagemill.providers.sketch.colour import Colour, luma, mix, shade
from imagemill.providers.sketch.geometry import Points, dense, extent
from imagemill.providers.sketch.scene import Layer, Patch, ground_colour
from imagemill.providers.sketch.stage import (
    OVERSAMPLE,
    Stage,
    blurred,
    corners,
    fill,
    gradient,
    mask,
    painted,
    shifted,
)  # fmt: skip
from imagemill.providers.sketch.techniques.crafted import subjects


def low_poly(stage: Stage) -> Image.Image:
    """Everything in triangles, each with its own light."""
    stage = stage.toned(0.3, 0.1)
    rng = stage.rng()
    k = stage.unit * OVERSAMPLE
    back = painted(stage, Layer.BACK)
    size = stage.width_px * OVERSAMPLE, stage.height_px * OVERSAMPLE
    large = _mesh(back, stage, rng, size)
    for patch in stage.scene.of(Layer.MIDDLE, Layer.HERO):
        _faceted(large, patch, k, rng)
    fill(large, stage.scene.of(Layer.FRONT), k)
    return large.reduce(OVERSAMPLE)


def _mesh(
    source: Image.Image, stage: Stage, rng: np.random.Generator, size: tuple[int, int]
) -> Image.Image:
    """Return `source` as a jittered net of triangles, each in the colour at its middle."""
    step = 8.5
    across = math.ceil(stage.scene.width / step) + 2
    down = math.ceil(stage.scene.height / step) + 2
    grid = np.stack(np.meshgrid(np.arange(across), np.arange(down)), axis=-1) * step - step / 2
    grid = grid + rng.uniform(-0.36, 0.36, grid.shape) * step
    tones = rng.uniform(-0.45, 0.45, (down, across, 2))
    pixels = np.asarray(source)
    large = Image.new("RGB", size)
    draw = ImageDraw.Draw(large)
    for j in range(down - 1):
        for i in range(across - 1):
            a, b, c, d = grid[j, i], grid[j, i + 1], grid[j + 1, i + 1], grid[j + 1, i]
            halves = ((a, b, c), (a, c, d)) if (i + j) % 2 else ((a, b, d), (b, c, d))
            for half, points in enumerate(halves):
                corner = np.array(points)
                x, y = (corner.mean(axis=0) * stage.unit).astype(int)
                r, g, b_ = pixels[
                    min(max(y, 0), len(pixels) - 1), min(max(x, 0), pixels.shape[1] - 1)
                ]
                colour = shade((int(r), int(g), int(b_)), float(tones[j, i, half]))
                draw.polygon(corners(corner, stage.unit * OVERSAMPLE), fill=colour)
    return large


def _simple(points: Points, step: float) -> Points:
    """Return the outline with corners about `step` units apart, where it turns most."""
    fine = dense(points, step / 5)
    count = int(np.clip(len(fine) / 5, 5, 26))
    corner: Points = fine[np.linspace(0, len(fine), count, endpoint=False).astype(int)]
    return corner


def _faceted(large: Image.Image, patch: Patch, k: float, rng: np.random.Generator) -> None:
    left, top, right, bottom = extent(patch.points)
    draw = ImageDraw.Draw(large)
    draw.polygon(corners(patch.points, k), fill=patch.colour)
    if (right - left) * (bottom - top) < 14:
        return
    rim = _simple(patch.points, max(3.0, (right - left + bottom - top) / 9))
    cut = Image.new("L", (round((right - left) * k) + 3, round((bottom - top) * k) + 3))
    origin = np.array([left - 1 / k, top - 1 / k])
    ImageDraw.Draw(cut).polygon(corners(patch.points - origin, k), fill=255)
    body = Image.new("RGB", cut.size, patch.colour)
    brush = ImageDraw.Draw(body)
    middle = patch.points.mean(axis=0)
    for a, b in zip(rim, np.roll(rim, -1, axis=0), strict=True):
        out = (a + b) / 2 - middle
        facing = float(-(out[0] * 0.6 + out[1] * 0.8) / max(np.hypot(*out), 1e-6))
        tone = 1.3 * facing + float(rng.uniform(-0.45, 0.45))
        far = middle + (np.array([a, b]) - middle) * 1.5
        brush.polygon(corners(np.array([middle, *far]) - origin, k), fill=shade(patch.colour, tone))
        half = middle + (np.array([a, b]) - middle) * 0.55
        brush.polygon(corners(np.array([middle, *half]) - origin, k),
                      fill=shade(patch.colour, tone * 0.45))  # fmt: skip
    large.paste(body, (round(origin[0] * k), round(origin[1] * k)), cut)


def _leaning(points: Points, foot: Points, at: Points, zoom: float) -> Points:
    """Return a standing outline as it looks on an isometric plane; `foot` goes to `at`."""
    moved = (points - foot) * zoom
    x = moved[:, 0] * 0.87
    return np.stack([x, moved[:, 1] + moved[:, 0] * 0.3], axis=1) + at


def isometric(stage: Stage) -> Image.Image:
    """The subject as a thick block on a floating tile, seen from above at an angle."""
    stage = stage.toned(0.3, 0.12)
    by_light = sorted(stage.palette or ((80, 110, 180), (240, 244, 250)), key=luma)
    image = gradient(mix(by_light[-1], (255, 255, 255), 0.4), by_light[-1], stage.size)
    centre = np.array([stage.scene.width / 2, stage.scene.height / 2 + 17])
    base = _ground(stage)
    tile = _tile(centre, base)
    cast = blurred(shifted(mask(stage, tile), 0, stage.px(7)), stage.px(3))
    image.paste(shade(by_light[-1], -2), mask=cast.point([round(v * 0.6) for v in range(256)]))
    large = image.resize((stage.width_px * 2, stage.height_px * 2), Image.Resampling.BICUBIC)
    k = stage.unit * OVERSAMPLE
    fill(large, tile, k)
    patches = subjects(stage)
    boxes = np.array([extent(p.points) for p in patches])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    foot = np.array([(low[0] + high[0]) / 2, high[1]])
    zoom = min(52 / (high[1] - low[1]), 52 / (high[0] - low[0]))
    at = centre + np.array([-3.0, 4.0])
    standing = [replace(p, points=_leaning(p.points, foot, at, zoom)) for p in patches]
    _extruded(large, standing, k)
    fill(large, standing, k)
    return large.reduce(OVERSAMPLE)


def _ground(stage: Stage) -> Colour:
    found = ground_colour(stage.scene.of(Layer.BACK), stage.scene.height)
    return found or mix(stage.scene.sky[1], (150, 170, 200), 0.5)


def _tile(centre: Points, base: Colour) -> list[Patch]:
    wide, high, thick = 44.0, 22.0, 8.0
    aside, ahead = np.array([wide, 0]), np.array([0, high])
    left, right, top, bottom = centre - aside, centre + aside, centre - ahead, centre + ahead
    down = np.array([0, thick])
    inner = centre + (np.array([left, top, right, bottom]) - centre) * 0.9
    return [
        Patch(np.array([left, bottom, bottom + down, left + down]), shade(base, -1.2)),
        Patch(np.array([bottom, right, right + down, bottom + down]), shade(base, -2.2)),
        Patch(np.array([left, top, right, bottom]), base),
        Patch(inner, shade(base, 0.4)),
    ]


def _extruded(large: Image.Image, patches: list[Patch], k: float) -> None:
    """Paint the thickness of standing shapes, receding to the upper right."""
    steps = np.arange(14, 0, -0.5)[:, None] * np.array([0.5, -0.29])
    for patch in patches:
        side = replace(patch, colour=shade(patch.colour, -1.9))
        fill(large, [replace(side, points=side.points + shift) for shift in steps], k)
