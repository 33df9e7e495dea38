"""Techniques of things: interface tiles, stickers, cut paper, blueprints."""

from dataclasses import replace

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from imagemill.providers.sketch.colour import Colour, luma, mix, saturated, shade
from imagemill.providers.sketch.geometry import extent, rectangle
from imagemill.providers.sketch.scene import Layer, Patch, Scene
from imagemill.providers.sketch.stage import (
    OVERSAMPLE,
    Stage,
    blurred,
    contour,
    corners,
    fill,
    gradient,
    grain,
    grown,
    mask,
    shifted,
    sky,
    textured,
)  # fmt: skip


def subjects(stage: Stage) -> tuple[Patch, ...]:
    """Return what was asked for; without a subject, the whole scene."""
    return tuple(p for p in stage.scene.patches if p.thing >= 0) or stage.scene.patches


def centred(stage: Stage, share: float) -> Stage:
    """Return the stage with only the subjects, filling `share` of the short side."""
    patches = subjects(stage)
    boxes = np.array([extent(p.points) for p in patches])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    middle = np.array([stage.scene.width, stage.scene.height]) / 2
    zoom = share * 100 / float(max(high - low))
    moved = tuple(
        replace(p, points=(p.points - (low + high) / 2) * zoom + middle, layer=Layer.HERO)
        for p in patches
    )
    return replace(stage, scene=replace(stage.scene, patches=moved))


def _rounded(stage: Stage, inset: float, radius: float) -> Image.Image:
    side = 100 - 2 * inset
    x, y = stage.scene.width / 2 - side / 2, stage.scene.height / 2 - side / 2
    return mask(stage, [Patch(rectangle(x, y, side, side, radius), (0, 0, 0))])


def ui(stage: Stage) -> Image.Image:
    """An icon in the middle of a rounded, lit tile."""
    by_light = sorted(stage.palette or ((60, 90, 200), (240, 244, 250)), key=luma)
    own = subjects(stage)[0].colour
    base = max(
        by_light[:-1] or by_light,
        key=lambda c: sum(abs(a - b) for a, b in zip(c, own, strict=True)),
    )
    image = gradient(mix(by_light[-1], (255, 255, 255), 0.5), by_light[-1], stage.size)
    tile = _rounded(stage, 9, 22)
    cast = blurred(shifted(tile, 0, stage.px(2.4)), stage.px(3))
    image.paste(shade(base, -2), mask=cast.point([round(v * 0.4) for v in range(256)]))
    image.paste(gradient(shade(base, 1.2), shade(base, -0.6), stage.size), mask=tile)
    rim = ImageChops.subtract(tile, _rounded(stage, 10.2, 21))
    image.paste((255, 255, 255), mask=rim.point([round(v * 0.35) for v in range(256)]))
    icon = centred(stage.toned(0.0, 0.1), 0.56)
    shape = mask(icon, icon.scene.patches)
    fall = blurred(shifted(shape, stage.px(1), stage.px(2.2)), stage.px(1.6))
    image.paste(shade(base, -3), mask=fall.point([round(v * 0.5) for v in range(256)]))
    halo = grown(shape, stage.px(0.7))
    image.paste((255, 255, 255), mask=halo)
    large = image.resize((stage.width_px * 2, stage.height_px * 2), Image.Resampling.BICUBIC)
    image = fill(large, icon.scene.patches, stage.unit * OVERSAMPLE).reduce(OVERSAMPLE)
    return _sheen(image, shape)


def _sheen(image: Image.Image, shape: Image.Image) -> Image.Image:
    light = Image.linear_gradient("L").resize(image.size)
    light = ImageChops.multiply(light.point([max(0, 70 - v // 2) for v in range(256)]), shape)
    image.paste((255, 255, 255), mask=light)
    return image


def sticker(stage: Stage) -> Image.Image:
    """A die-cut sticker: the subject, a white border, a shadow, on a plain pastel."""
    palette = stage.palette or ((120, 190, 220),)
    paper = mix(palette[0], (255, 255, 255), 0.55)
    cut = centred(stage.toned(0.1, 0.1), 0.72)
    shape = mask(cut, cut.scene.patches)
    border = grown(shape, stage.px(2.6))
    image = gradient(mix(paper, (255, 255, 255), 0.3), paper, stage.size)
    _dots(image, stage, mix(paper, (255, 255, 255), 0.5))
    cast = blurred(shifted(border, stage.px(1.2), stage.px(2)), stage.px(1.8))
    image.paste(shade(paper, -3), mask=cast.point([round(v * 0.6) for v in range(256)]))
    image.paste((255, 255, 255), mask=border)
    k = stage.unit * OVERSAMPLE
    large = image.resize((stage.width_px * 2, stage.height_px * 2), Image.Resampling.BICUBIC)
    contour(large, cut.scene.patches, k, (46, 36, 62), k * 1.8)
    lively = [replace(p, colour=saturated(p.colour, 1.15)) for p in cut.scene.patches]
    image = fill(large, lively, k).reduce(OVERSAMPLE)
    d = stage.px(2.6)
    core = ImageChops.darker(shape, ImageChops.invert(shifted(shape, -d, -d)))
    image.paste((50, 30, 90), mask=core.point([round(v * 0.18) for v in range(256)]))
    return _sheen(image, shape)


def _dots(image: Image.Image, stage: Stage, colour: Colour) -> None:
    draw = ImageDraw.Draw(image)
    step, r = stage.px(9), stage.px(1)
    for row, y in enumerate(np.arange(0, stage.height_px + step, step).tolist()):
        for x in np.arange((row % 2) * step / 2, stage.width_px + step, step).tolist():
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def paper_cut(stage: Stage) -> Image.Image:
    """Layers of coloured paper, each casting a soft shadow on the next."""
    stage = stage.toned(0.55, 0.22)
    large = sky(stage)
    groups: list[list[Patch]] = []
    for patch in stage.scene.patches:
        wide = extent(patch.points)[2] - extent(patch.points)[0]
        alone = patch.thing < 0 and wide > stage.scene.width
        key = (patch.layer, patch.thing)
        if groups and not alone and key == (groups[-1][-1].layer, groups[-1][-1].thing):
            groups[-1].append(patch)
        else:
            groups.append([patch])
    for group in groups:
        _lay(large, stage, group)
    return textured(large.reduce(OVERSAMPLE), grain(stage, 0.3), 0.09)


def _lay(large: Image.Image, stage: Stage, group: list[Patch]) -> None:
    """Lay one sheet on the pile: its shadow (computed small, it is soft anyway), then itself."""
    small = stage.width_px // 2, stage.height_px // 2
    shape = Image.new("L", small)
    draw = ImageDraw.Draw(shape)
    for patch in group:
        draw.polygon(corners(patch.points + np.array([0.9, 1.5]), stage.unit / 2), fill=108)
    fall = blurred(shape, stage.px(0.7)).resize(large.size, Image.Resampling.BILINEAR)
    large.paste((28, 20, 50), mask=fall)
    fill(large, group, stage.unit * OVERSAMPLE)


def blueprint(stage: Stage) -> Image.Image:
    """White construction lines on blue, with a grid and measures."""
    ground = min(stage.palette, key=luma, default=(24, 66, 130))
    k = stage.unit * OVERSAMPLE
    plan = centred(stage, 0.7)
    size = stage.width_px * OVERSAMPLE, stage.height_px * OVERSAMPLE
    large = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(large)
    for i, x in enumerate(np.arange(0, size[0], 5 * k).tolist()):
        draw.line(
            (x, 0, x, size[1]), fill=mix(ground, (255, 255, 255), 0.2 if i % 5 == 0 else 0.09)
        )
    for i, y in enumerate(np.arange(0, size[1], 5 * k).tolist()):
        draw.line(
            (0, y, size[0], y), fill=mix(ground, (255, 255, 255), 0.2 if i % 5 == 0 else 0.09)
        )
    for patch in plan.scene.patches:
        ring = corners(patch.points, k)
        tone = 0.06 + 0.16 * luma(patch.colour) / 255
        draw.polygon(ring, fill=mix(ground, (255, 255, 255), tone))
        draw.line(
            [*ring, *ring[:2]], fill=(236, 244, 255), width=max(1, round(k * 0.55)), joint="curve"
        )
    _measures(draw, plan.scene, k)
    return textured(large.reduce(OVERSAMPLE), grain(stage, 0.5), 0.05)


def _measures(draw: ImageDraw.ImageDraw, scene: Scene, k: float) -> None:
    boxes = np.array([extent(p.points) for p in scene.patches])
    (left, top), (right, bottom) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    pale, thin = (170, 200, 240), max(1, round(k * 0.3))
    for a, b in (
        ((left, bottom + 6), (right, bottom + 6)),
        ((right + 6, top), (right + 6, bottom)),
    ):
        draw.line([(a[0] * k, a[1] * k), (b[0] * k, b[1] * k)], fill=pale, width=thin)
        for x, y in (a, b):
            draw.line(
                [((x - 1.4) * k, (y + 1.4) * k), ((x + 1.4) * k, (y - 1.4) * k)],
                fill=pale,
                width=thin,
            )
