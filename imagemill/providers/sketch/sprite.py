"""A thing by itself on one flat colour: what the prompts of game assets ask for.

The prompt says so in the words of `imagemill.asset.template`; everything else of it that can be
drawn (technique, colours, grid, state, frame of an animation) is read from its words, too.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from imagemill.providers.sketch.colour import Colour, drawn_to, luma, mix, parse, shade
from imagemill.providers.sketch.compose import compose
from imagemill.providers.sketch.geometry import Points, extent, rectangle, wobbled
from imagemill.providers.sketch.scene import Patch
from imagemill.providers.sketch.words import understand

_FLAT = re.compile(r"perfectly flat (#[0-9A-Fa-f]{6}) color")
_HEX = re.compile(r"#[0-9A-Fa-f]{6}\b")
_GRID = re.compile(r"[Pp]ixel grid: (\d{2,3})x\d{2,3}\b")
_FRAME = re.compile(r"\bframe (\d{1,2}) of (\d{1,2})\b")
_STATE = re.compile(r"\bstate: (\w+)")
_SHARE = 0.76
"""Of the shorter side, that the subject fills."""
_SMOOTH = 3
"""Drawn this many times larger and averaged down."""
_PULL = 0.5
"""How far colours are drawn towards those that the prompt names."""
INK: Colour = (42, 36, 52)


@dataclass(frozen=True, slots=True)
class SpriteBrief:
    """What an asset's prompt asks for besides its subject.

    Attributes:
        key: The flat background.
        technique: `pixel`, `drawn` or `ui`.
        cells: Of pixel art, along the shorter side.
        colours: Named in the prompt; the subject's are drawn towards them.
        phase: Where in its cycle an animation is, 0 to 1; None: it stands still.
        state: Of a UI element; "" is the normal one.
    """

    key: Colour
    technique: str
    cells: int = 48
    colours: tuple[Colour, ...] = ()
    phase: float | None = None
    state: str = ""


def sprite_brief(prompt: str) -> SpriteBrief | None:
    """Return what the prompt of an asset asks for, None if it is no such prompt."""
    flat = _FLAT.search(prompt)
    if not flat:
        return None
    lower = prompt.lower()
    technique = (
        "ui" if "a game ui element" in lower else "pixel" if "pixel art style" in lower else "drawn"
    )
    grid, frame, state = _GRID.search(prompt), _FRAME.search(lower), _STATE.search(lower)
    colours = dict.fromkeys(parse(text) for text in _HEX.findall(prompt))
    return SpriteBrief(
        key=parse(flat[1]),
        technique=technique,
        cells=min(128, max(16, int(grid[1]))) if grid else 48,
        colours=tuple(colour for colour in colours if colour != parse(flat[1])),
        phase=(int(frame[1]) - 1) / max(1, int(frame[2])) if frame else None,
        state=state[1] if state else "",
    )


def draw_sprite(words: str, brief: SpriteBrief, size: tuple[int, int], seed: int) -> Image.Image:
    """Return the picture, RGB: the subject in the middle of one flat colour.

    Args:
        words: What it shows.
        brief: From `sprite_brief`.
        size: Width and height in pixels.
        seed: Decides what the words leave open.
    """
    patches = _subject(words, brief, seed)
    if brief.technique == "pixel":
        return _pixels(patches, brief, size)
    if brief.technique == "ui":
        return _tile(patches, brief, size)
    return _drawn(patches, brief, size, seed)


def _subject(words: str, brief: SpriteBrief, seed: int) -> list[Patch]:
    """Return the subject around (0, 0), the longer side 1, moved as the phase says."""
    understood = replace(understand(words), place="studio", time="day", weather="")
    scene = compose(understood, (100, 100), np.random.default_rng(seed), brief.colours)
    patches = [p for p in scene.patches if p.thing >= 0]
    patches = patches or [Patch(rectangle(20, 20, 60, 60, 24), brief.colours[0])]
    boxes = np.array([extent(p.points) for p in patches])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    middle, zoom = (low + high) / 2, 1 / float(max(high - low))
    foot = float(high[1] - middle[1]) * zoom
    return [
        replace(
            p,
            points=_moved((p.points - middle) * zoom, brief.phase, foot),
            colour=drawn_to(p.colour, brief.colours, _PULL if len(brief.colours) > 2 else 0.0),
        )
        for p in patches
    ]


def _moved(points: Points, phase: float | None, foot: float) -> Points:
    """Return points in the breath and sway of an idle figure; its foot stays where it is."""
    if phase is None:
        return points
    turn = 2 * math.pi * phase
    tall = 1 + 0.07 * math.sin(turn)
    height = (foot - points[:, 1]) / max(2 * foot, 1e-6)
    x = points[:, 0] / math.sqrt(tall) + 0.07 * height * math.cos(turn)
    return np.stack([x, foot - (foot - points[:, 1]) * tall], axis=1)


def _painted(patches: Sequence[Patch], size: tuple[int, int], k: float, *, ink: float = 0.0) -> Image.Image:  # fmt: skip
    """Return patches on transparency, the first pixel size `k` to the unit, outlined by `ink` px."""
    image = Image.new("RGBA", size)
    pen, middle = ImageDraw.Draw(image), np.array(size) / 2
    rings = [[tuple(xy) for xy in (p.points * k + middle).tolist()] for p in patches]
    for ring in rings if ink else ():
        pen.line([*ring, *ring[:2]], fill=(*INK, 255), width=max(1, round(2 * ink)), joint="curve")
    for patch, ring in zip(patches, rings, strict=True):
        pen.polygon(ring, fill=(*patch.colour, 255))
        if ink:
            line = mix(shade(patch.colour, -2), INK, 0.35)
            pen.line([*ring, *ring[:2]], fill=(*line, 255), width=max(1, round(ink / 2.4)),
                     joint="curve")  # fmt: skip
    return image


def _lit(image: Image.Image, reach: float) -> Image.Image:
    """Return a cut-out with light from the upper left: a bright rim there, shade opposite."""
    alpha = image.getchannel("A")
    step = max(1, round(reach))
    for shift, colour, strength in ((-step, (30, 18, 66), 0.26), (step, (255, 250, 226), 0.34)):
        inside = ImageChops.offset(alpha, shift, round(shift * 0.8))
        band = ImageChops.darker(alpha, ImageChops.invert(inside))
        flat = Image.new("RGB", image.size, colour)
        levels = [round(v * strength) for v in range(256)]
        mixed = Image.composite(flat, image.convert("RGB"), band.point(levels))
        image = Image.merge("RGBA", (*mixed.split(), alpha))
    return image


def _on_key(image: Image.Image, key: Colour) -> Image.Image:
    ground = Image.new("RGB", image.size, key)
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _pixels(patches: Sequence[Patch], brief: SpriteBrief, size: tuple[int, int]) -> Image.Image:
    """Square pixels, hard edges, a dark outline, two tones of light, few colours."""
    side = min(size)
    cell = max(1, side // brief.cells)
    across, down = math.ceil(size[0] / cell), math.ceil(size[1] / cell)
    k = side / cell * (_SHARE - 0.04)
    large = _painted(patches, (across * 4, down * 4), k * 4)
    large = _lit(large, 4 * max(1.0, k / 20))
    small = np.asarray(large.reduce(4)).copy()
    solid = small[..., 3] >= 128
    few = Image.fromarray(small[solid][None, :, :3])
    number = min(20, max(6, len(brief.colours) * 2)) if brief.colours else 16
    few = few.quantize(number, method=Image.Quantize.MEDIANCUT, kmeans=2,
                       dither=Image.Dither.NONE).convert("RGB")  # fmt: skip
    out = np.zeros((down, across, 3), np.uint8)
    out[:] = brief.key
    out[solid] = np.asarray(few)[0]
    edge = np.pad(solid, 1)
    edge = edge[:-2, 1:-1] | edge[2:, 1:-1] | edge[1:-1, :-2] | edge[1:-1, 2:]
    out[edge & ~solid] = INK
    whole = Image.fromarray(out).resize((across * cell, down * cell), Image.Resampling.NEAREST)
    left, top = (across * cell - size[0]) // 2, (down * cell - size[1]) // 2
    return whole.crop((left, top, left + size[0], top + size[1]))


def _drawn(
    patches: Sequence[Patch], brief: SpriteBrief, size: tuple[int, int], seed: int
) -> Image.Image:
    """A steady hand: bold contour, thin inner lines, flat colour with light and shade."""
    side, wide = min(size), (size[0] * _SMOOTH, size[1] * _SMOOTH)
    phase = seed % 1000 / 7.0
    hand = [replace(p, points=wobbled(p.points * 100, 0.22, phase, wave=11) / 100) for p in patches]
    image = _painted(hand, wide, side * _SMOOTH * _SHARE, ink=side * _SMOOTH * 0.011)
    return _on_key(_lit(image, side * _SMOOTH * 0.02), brief.key).reduce(_SMOOTH)


def _tile(patches: Sequence[Patch], brief: SpriteBrief, size: tuple[int, int]) -> Image.Image:
    """The subject on a rounded tile of the primary colour; states change its light."""
    primary = brief.colours[0] if brief.colours else (74, 144, 226)
    border = shade(primary, -1.6)
    light = {"hover": 0.7, "focused": 0.7, "selected": 0.7, "pressed": -0.9, "active": -0.9}
    face = shade(primary, light.get(brief.state, 0.0))
    if brief.state == "disabled":
        grey = round(luma(primary))
        face, border = mix((grey, grey, grey), (255, 255, 255), 0.35), (120, 122, 130)
    low = 0.02 if brief.state in {"pressed", "active"} else 0.0

    def plate(inset: float, radius: float, colour: Colour, drop: float = 0.0) -> Patch:
        span = 1 - 2 * inset
        points = rectangle(inset - 0.5, inset - 0.5 + low + drop, span, span, radius)
        return Patch(points, colour)

    lip = [] if low else [plate(0.0, 0.2, shade(border, -0.8), 0.045)]
    icon = [replace(p, points=p.points * 0.58 + (0, low)) for p in patches]
    if brief.state == "disabled":
        icon = [replace(p, colour=mix(p.colour, (150, 152, 160), 0.75)) for p in icon]
    plates = [*lip, plate(0.0, 0.2, border), plate(0.035, 0.17, shade(face, 0.9)),
              plate(0.06, 0.15, face)]  # fmt: skip
    side, wide = min(size), (size[0] * _SMOOTH, size[1] * _SMOOTH)
    k = side * _SMOOTH * (_SHARE + 0.02)
    image = _painted(plates, wide, k)
    image.alpha_composite(_lit(_painted(icon, wide, k, ink=side * _SMOOTH * 0.007), k * 0.016))
    return _on_key(image, brief.key).reduce(_SMOOTH)
