"""Techniques of brush and lens: watercolour, storybook, concept art, photograph."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageOps

from imagemill.providers.sketch.colour import Colour, luma, mix, saturated, shade
from imagemill.providers.sketch.geometry import extent, wobbled
from imagemill.providers.sketch.scene import Layer, Patch
from imagemill.providers.sketch.stage import (
    OVERSAMPLE,
    Stage,
    blurred,
    corners,
    fill,
    grain,
    grown,
    mask,
    noise,
    painted,
    shifted,
    textured,
    vignette,
)  # fmt: skip


def _stray(stage: Stage, reach: float, cell: float) -> NDArray[np.intp]:
    """Return for every pixel the (flat) place it comes from, by chance up to `reach` units off."""
    amount = stage.px(reach) / 128
    h, w = stage.height_px, stage.width_px
    down, along = (
        (np.asarray(noise(stage, cell, seed=seed), np.float32) - 128) * amount for seed in (11, 12)
    )
    y = np.clip(np.arange(h, dtype=np.float32)[:, None] + down, 0, h - 1).astype(np.intp)
    x = np.clip(np.arange(w, dtype=np.float32)[None, :] + along, 0, w - 1).astype(np.intp)
    places: NDArray[np.intp] = y * w + x
    return places


def _displaced(image: Image.Image, places: NDArray[np.intp]) -> Image.Image:
    """Return the image with every pixel taken from its place in `places`."""
    bands = [np.take(np.asarray(band), places) for band in image.split()]
    return Image.merge(image.mode, [Image.fromarray(band) for band in bands])


def watercolor(stage: Stage) -> Image.Image:
    """Wet colour on rough paper: bleeding edges, dark rims, blotches, white at the border."""
    stage = stage.toned(0.3, 0.12)
    paper = (253, 250, 243)
    back = blurred(painted(stage, Layer.BACK), stage.px(1.1))
    whole = painted(stage)
    near = mask(stage, stage.scene.of(Layer.MIDDLE, Layer.HERO, Layer.FRONT))
    wash = Image.blend(back, Image.new("RGB", stage.size, paper), 0.3)
    wash.paste(Image.blend(whole, Image.new("RGB", stage.size, paper), 0.06), mask=near)
    edges = ImageChops.difference(whole, blurred(whole, stage.px(1.1))).convert("L")
    places = _stray(stage, 1.0, 4.2)
    image = _displaced(wash, places)
    image = Image.blend(image, blurred(image, stage.px(1.6)), 0.3)
    rims = _displaced(edges, places).point([min(190, round(v * 3.2)) for v in range(256)])
    image = Image.composite(ImageChops.multiply(image, image), image, rims)
    blotch = noise(stage, 9, seed=4).point([round(70 * (v / 255) ** 2) for v in range(256)])
    image.paste(paper, mask=blotch)
    image = textured(image, grain(stage, 0.3), 0.14)
    return _wet_border(image, stage, paper)


def _wet_border(image: Image.Image, stage: Stage, paper: Colour) -> Image.Image:
    inset = round(stage.px(4.5))
    inside = Image.new("L", stage.size)
    inside.paste(255, (inset, inset, stage.width_px - inset, stage.height_px - inset))
    ragged = _displaced(blurred(inside, stage.px(0.7)), _stray(stage, 2.4, 5))
    sheet = textured(Image.new("RGB", stage.size, paper), grain(stage, 0.55), 0.1)
    return Image.composite(image, sheet, ragged)


def storybook(stage: Stage) -> Image.Image:
    """Warm gouache: soft shapes, crayon grain, glowing light, a page's ragged edge."""
    stage = stage.toned(0.5, 0.25)
    soft = tuple(
        replace(
            p, points=wobbled(p.points, 0.25, i * 0.61), colour=mix(p.colour, (255, 214, 150), 0.08)
        )
        for i, p in enumerate(stage.scene.patches)
    )
    stage = replace(stage, scene=replace(stage.scene, patches=soft))
    image = painted(stage)
    heroes = mask(stage, stage.scene.of(Layer.HERO, Layer.MIDDLE))
    d = stage.px(6)
    core = ImageChops.darker(heroes, ImageChops.invert(blurred(shifted(heroes, -d, -d), d / 2)))
    speckle = grain(stage, 0.25).point([255 if v > 110 else 130 for v in range(256)])
    core = ImageChops.multiply(core, speckle).point([round(v * 0.5) for v in range(256)])
    image.paste((84, 44, 60), mask=core)
    x, y = (round(c * stage.unit) for c in stage.scene.light)
    glow = _spot(stage, x, y, 70).point([round(v * 0.42) for v in range(256)])
    image.paste((255, 226, 160), mask=glow)
    image = textured(image, grain(stage, 0.4, seed=6), 0.16)
    return _wet_border(image, stage, (253, 246, 230))


def _spot(stage: Stage, x: int, y: int, reach: float) -> Image.Image:
    """Return a round light around a pixel, `reach` units wide, fading outwards."""
    side = round(stage.px(reach) * 2)
    ball = ImageOps.invert(Image.radial_gradient("L")).resize((side, side))
    ball = ball.point([round(max(0, v - 74) * 255 / 181) for v in range(256)])
    light = Image.new("L", stage.size)
    light.paste(ball, (x - side // 2, y - side // 2))
    return light


def concept_art(stage: Stage) -> Image.Image:
    """Brushwork and air: broad strokes, haze with distance, shafts of light, film colours."""
    stage = stage.toned(0.4, 0.2)
    far = painted(stage, Layer.BACK)
    air = mix(stage.scene.sky[1], (255, 220, 180), 0.3)
    haze = Image.linear_gradient("L").resize(stage.size)
    haze = haze.point([round(150 * max(0.0, 1 - abs(v - 150) / 120)) for v in range(256)])
    far.paste(air, mask=haze)
    image = _strokes(far, stage, 2000, 7.0)
    near = [*stage.scene.of(Layer.MIDDLE, Layer.HERO)]
    large = image.resize((stage.width_px * 2, stage.height_px * 2), Image.Resampling.BILINEAR)
    sharp = fill(large, near, stage.unit * OVERSAMPLE).reduce(OVERSAMPLE)
    shape = mask(stage, near)
    lit = _modelled(sharp, stage, shape)
    brushed = _strokes(lit, stage, 1800, 2.2)
    image.paste(Image.blend(lit, brushed, 0.6), mask=shape)
    front = fill(image.resize(large.size), stage.scene.of(Layer.FRONT), stage.unit * OVERSAMPLE)
    image = _shafts(front.reduce(OVERSAMPLE), stage)
    return vignette(textured(image, grain(stage, 0.3), 0.1), 0.6)


def _strokes(image: Image.Image, stage: Stage, count: int, length: float) -> Image.Image:
    """Return the image gone over with short brush strokes in its own colours."""
    rng = stage.rng()
    result = image.copy()
    draw = ImageDraw.Draw(result)
    spots = rng.uniform(0, 1, (count, 2)) * (stage.width_px - 1, stage.height_px - 1)
    turns, tones = rng.normal(-0.35, 0.4, count), rng.uniform(-0.25, 0.25, count)
    pixels = np.asarray(image)[spots[:, 1].astype(int), spots[:, 0].astype(int)]
    inks = np.clip(pixels * (1 + 0.26 * tones[:, None]), 0, 255).astype(int)
    reach = np.stack([np.cos(turns), np.sin(turns)], axis=1) * stage.px(length) / 2
    lines = np.concatenate([spots - reach, spots + reach], axis=1)
    wide = max(1, round(stage.px(length * 0.22)))
    for line, ink in zip(lines.tolist(), inks.tolist(), strict=True):
        draw.line(line, fill=tuple(ink), width=wide)
    return result


def _modelled(image: Image.Image, stage: Stage, shape: Image.Image) -> Image.Image:
    """Return the image with light from the upper left and shade at the lower right of `shape`."""
    d = stage.px(6)
    away = ImageChops.subtract(shape, blurred(shifted(shape, -d, -d), d * 0.8))
    toward = ImageChops.subtract(shape, blurred(shifted(shape, d * 0.5, d * 0.5), d * 0.5))
    image = image.copy()
    image.paste((22, 18, 52), mask=away.point([round(v * 0.62) for v in range(256)]))
    image.paste((255, 236, 200), mask=toward.point([round(v * 0.5) for v in range(256)]))
    return image


def _shafts(image: Image.Image, stage: Stage) -> Image.Image:
    rays = Image.new("L", stage.size)
    draw = ImageDraw.Draw(rays)
    x, y = (c * stage.unit for c in stage.scene.light)
    reach = float(sum(stage.size))
    for turn in (1.75, 2.0, 2.22, 2.5):
        far = [(x + reach * np.cos(turn + s), y + reach * np.sin(turn + s)) for s in (-0.05, 0.05)]
        draw.polygon([(x, y), *far], fill=58)
    image.paste((255, 238, 205), mask=blurred(rays, stage.px(1.6)))
    return image


def photo(stage: Stage) -> Image.Image:
    """Like through a lens: modelled light, a blurred distance, soft shadows, grain."""
    scene = stage.scene
    calm = tuple(replace(p, colour=saturated(p.colour, 0.92)) for p in scene.patches)
    stage = replace(stage, scene=replace(scene, patches=calm)).toned(0.15, 0.05)
    back = _bokeh(blurred(painted(stage, Layer.BACK), stage.px(2.2)), stage)
    image = _blurred_middle(back, stage)
    k = stage.unit * OVERSAMPLE
    large = image.resize((stage.width_px * 2, stage.height_px * 2), Image.Resampling.BILINEAR)
    heroes = stage.scene.of(Layer.HERO)
    shape = mask(stage, heroes)
    for patch in heroes:
        _rounded_off(large, patch, k)
    image = _modelled(large.reduce(OVERSAMPLE), stage, shape)
    front = stage.scene.of(Layer.FRONT)
    if front:
        wet = fill(image.resize(large.size, Image.Resampling.BILINEAR), front, k).reduce(OVERSAMPLE)
        image.paste(wet, mask=blurred(mask(stage, front), stage.px(0.5)))
    return vignette(textured(image, grain(stage, 0.2), 0.1), 0.5)


def _blurred_middle(image: Image.Image, stage: Stage) -> Image.Image:
    middle = stage.scene.of(Layer.MIDDLE)
    shadows = [p for p in middle if p.thing < 0]
    things = [p for p in middle if p.thing >= 0]
    soft = blurred(mask(stage, shadows), stage.px(1.6)).point([round(v * 0.75) for v in range(256)])
    image.paste(shade(shadows[0].colour, -1.4) if shadows else (0, 0, 0), mask=soft)
    if not things:
        return image
    large = image.resize((stage.width_px * 2, stage.height_px * 2), Image.Resampling.BILINEAR)
    full = blurred(fill(large, things, stage.unit * OVERSAMPLE).reduce(OVERSAMPLE), stage.px(0.7))
    image.paste(full, mask=grown(mask(stage, things), stage.px(0.5)))
    return image


def _bokeh(image: Image.Image, stage: Stage) -> Image.Image:
    rng = stage.rng()
    light = Image.new("L", stage.size)
    draw = ImageDraw.Draw(light)
    for _ in range(16):
        x, y = rng.uniform(0, stage.width_px), rng.uniform(0, stage.height_px * 0.75)
        r = stage.px(rng.uniform(1.5, 5))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=int(rng.integers(18, 52)))
    image.paste((255, 246, 220), mask=blurred(light, stage.px(0.5)))
    return image


def _rounded_off(large: Image.Image, patch: Patch, k: float) -> None:
    """Paint one patch as a rounded body lit from the upper left."""
    left, top, right, bottom = (v * k for v in extent(patch.points))
    x, y = round(left) - 1, round(top) - 1
    w, h = round(right) - x + 2, round(bottom) - y + 2
    if w * h < 80:
        fill(large, [patch], k)
        return
    cut = Image.new("L", (w, h))
    ImageDraw.Draw(cut).polygon(corners(patch.points - np.array([x, y]) / k, k), fill=255)
    steps = 0.75 if luma(patch.colour) < 235 else 0.5
    body = ImageOps.colorize(_ball().resize((w, h), Image.Resampling.BILINEAR),
                             shade(patch.colour, 1.1 * steps), shade(patch.colour, -1.5 * steps),
                             mid=patch.colour, midpoint=110)  # fmt: skip
    large.paste(body, (x, y), cut)


def _ball() -> Image.Image:
    """Return a ball's shading: dark (0) where it is lit, at the upper left."""
    return Image.radial_gradient("L").crop((64, 64, 256, 256))
