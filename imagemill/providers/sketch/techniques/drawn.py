"""Techniques of line: ink, cel, outline, light tubes."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from imagemill.providers.sketch.colour import Colour, luma, mix, saturated, shade
from imagemill.providers.sketch.geometry import extent, wobbled
from imagemill.providers.sketch.scene import Layer, Patch
from imagemill.providers.sketch.stage import (
    OVERSAMPLE,
    Stage,
    blurred,
    contour,
    corners,
    fill,
    grain,
    mask,
    shifted,
    sky,
    textured,
)  # fmt: skip

INK: Colour = (44, 38, 50)


def _area(patch: Patch) -> float:
    left, top, right, bottom = extent(patch.points)
    return (right - left) * (bottom - top)


def _wobbly(patches: Iterable[Patch], amount: float, phase: float) -> list[Patch]:
    return [
        replace(p, points=wobbled(p.points, amount, phase + 0.37 * i))
        if _area(p) > 12 else p
        for i, p in enumerate(patches)
    ]  # fmt: skip


def hand_drawn(stage: Stage) -> Image.Image:
    """Coloured pencil on paper: unsteady ink, hatching, colour that misses the line a little."""
    stage = stage.toned(0.35, 0.15)
    phase = float(stage.rng().uniform(0, 6))
    k = stage.unit * OVERSAMPLE
    paper = (251, 246, 234)
    size = stage.width_px * OVERSAMPLE, stage.height_px * OVERSAMPLE
    large = Image.blend(Image.new("RGB", size, paper), sky(stage), 0.4)
    draw = ImageDraw.Draw(large)
    off = np.array([0.5, 0.4])
    for i, patch in enumerate(stage.scene.patches):
        near = patch.layer in (Layer.HERO, Layer.MIDDLE) or patch.thing >= 0
        soft = mix(patch.colour, paper, 0.1 if near else 0.45)
        loose = wobbled(patch.points, 0.3, phase + i) if _area(patch) > 12 else patch.points
        draw.polygon(corners(loose + off * near, k), fill=soft)
        width = max(1, round(k * (0.62 if near else 0.32)))
        ink = INK if near else mix(patch.colour, INK, 0.45)
        if near or _area(patch) > 200:
            for again in range(2 if near else 1):
                line = wobbled(patch.points, 0.22, phase + i + 2.3 * again)
                ring = corners(line, k)
                draw.line([*ring, *ring[:2]], fill=ink, width=width - again, joint="curve")
    image = large.reduce(OVERSAMPLE)
    _hatch(image, stage)
    return textured(image, grain(stage, 0.5), 0.14)


def _hatch(image: Image.Image, stage: Stage) -> None:
    """Shade the lower right of every subject with slanted pencil strokes."""
    heroes = mask(stage, stage.scene.of(Layer.HERO, Layer.MIDDLE))
    d = stage.px(7)
    shady = ImageChops.darker(heroes, ImageChops.invert(shifted(heroes, -d, -d * 0.7)))
    lines = Image.new("L", stage.size)
    draw = ImageDraw.Draw(lines)
    w, h = stage.size
    for x in np.arange(-h, w, stage.px(1.7)).tolist():
        draw.line((x, h, x + h * 0.8, 0), fill=120, width=max(1, round(stage.px(0.4))))
    image.paste(INK, mask=ImageChops.multiply(shady, lines))


def line_art(stage: Stage) -> Image.Image:
    """Ink outlines on white; only the subject keeps a breath of colour."""
    k = stage.unit * OVERSAMPLE
    paper: Colour = (255, 255, 255)
    ink = min(stage.palette, key=luma, default=INK)
    large = Image.new("RGB", (stage.width_px * OVERSAMPLE, stage.height_px * OVERSAMPLE), paper)
    draw = ImageDraw.Draw(large)
    for patch in stage.scene.patches:
        near = patch.layer in (Layer.HERO, Layer.MIDDLE) and patch.thing >= 0
        ring = corners(patch.points, k)
        inside = paper
        if patch.layer is Layer.HERO:
            dark = luma(patch.colour) < 70
            inside = ink if dark and _area(patch) < 160 else mix(patch.colour, paper, 0.86)
        draw.polygon(ring, fill=inside)
        colour = ink if near else mix(ink, paper, 0.62)
        width = max(1, round(k * (0.8 if near else 0.4)))
        draw.line([*ring, *ring[:2]], fill=colour, width=width, joint="curve")
    return large.reduce(OVERSAMPLE)


def anime(stage: Stage) -> Image.Image:
    """Cel shading: vivid colour, one hard shadow, fine dark outlines, streaming light."""
    scene = stage.scene
    vivid = tuple(replace(p, colour=saturated(p.colour, 1.22)) for p in scene.patches)
    stage = replace(stage, scene=replace(scene, patches=vivid)).toned(0.25, 0.08)
    k = stage.unit * OVERSAMPLE
    large = sky(stage)
    fill(large, stage.scene.of(Layer.BACK), k)
    image = _streaks(large.reduce(OVERSAMPLE), stage)
    large = image.resize(large.size, Image.Resampling.BICUBIC)
    for patch in stage.scene.of(Layer.MIDDLE, Layer.HERO):
        if patch.thing < 0:
            fill(large, [patch], k)
            continue
        fill(large, [patch], k)
        contour(large, [patch], k, mix(shade(patch.colour, -3), INK, 0.5), k * 0.55)
    fill(large, stage.scene.of(Layer.FRONT), k)
    image = large.reduce(OVERSAMPLE)
    heroes = mask(stage, stage.scene.of(Layer.HERO))
    heroes = ImageChops.subtract(heroes, mask(stage, stage.scene.of(Layer.FRONT)))
    d = stage.px(5)
    core = ImageChops.darker(heroes, ImageChops.invert(shifted(heroes, -d, -d)))
    image.paste((70, 40, 130), mask=core.point([round(v * 0.26) for v in range(256)]))
    lit = ImageChops.darker(heroes, ImageChops.invert(shifted(heroes, d * 0.28, d * 0.28)))
    image.paste((255, 250, 230), mask=lit.point([round(v * 0.55) for v in range(256)]))
    return image


def _streaks(image: Image.Image, stage: Stage) -> Image.Image:
    rays = Image.new("L", stage.size)
    draw = ImageDraw.Draw(rays)
    rng = stage.rng()
    x, y = (c * stage.unit for c in (stage.scene.width / 2, stage.scene.height * 0.55))
    reach = float(sum(stage.size))
    for turn in np.sort(rng.uniform(0, 6.283, 46)).tolist():
        wide, start = rng.uniform(0.008, 0.03), stage.px(rng.uniform(40, 52))
        near = (x + start * np.cos(turn), y + start * np.sin(turn))
        far = [(x + reach * np.cos(turn + s * wide), y + reach * np.sin(turn + s * wide))
               for s in (-1, 1)]  # fmt: skip
        draw.polygon([near, *far], fill=74)
    white = Image.new("RGB", stage.size, (255, 255, 255))
    return Image.composite(white, image, blurred(rays, stage.px(0.25)))


def neon(stage: Stage) -> Image.Image:
    """Glowing tubes on a dark wall."""
    wall = min(stage.palette, key=luma, default=(16, 12, 34))
    k = stage.unit * OVERSAMPLE
    size = stage.width_px * OVERSAMPLE, stage.height_px * OVERSAMPLE
    wall = mix(wall, (8, 4, 20), 0.6)
    large = Image.new("RGB", size, wall)
    draw = ImageDraw.Draw(large)
    for patch in stage.scene.patches:
        near = patch.thing >= 0
        light = saturated(mix(patch.colour, (255, 255, 255), 0.25), 1.9)
        light = mix(light, (255, 255, 255), 0.1) if max(light) > 120 else (150, 110, 255)
        ring = corners(patch.points, k)
        dim = mix(wall, light, 0.1 if near else 0.03)
        draw.polygon(ring, fill=dim)
        if near or _area(patch) > 150:
            tone = light if near else mix(wall, light, 0.35)
            width = max(1, round(k * (0.9 if near else 0.45)))
            draw.line([*ring, *ring[:2]], fill=tone, width=width, joint="curve")
    image = large.reduce(OVERSAMPLE)
    unlit = Image.new("RGB", stage.size, mix(wall, (255, 255, 255), 0.1))
    glow = ImageChops.subtract(image, unlit)
    for radius in (0.9, 3.0):
        image = ImageChops.screen(image, blurred(glow, stage.px(radius)))
    return image
