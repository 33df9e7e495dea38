"""The drawing board: paper of the right size, filled outlines, masks and grain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from imagemill.providers.sketch.colour import Colour, mix
from imagemill.providers.sketch.geometry import Points
from imagemill.providers.sketch.scene import Layer, Patch, Scene

Grey = NDArray[np.float32]
OVERSAMPLE = 2
"""Drawn this many times larger and averaged down, which smooths the edges."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a technique works with.

    Attributes:
        scene: What to draw.
        width_px: Width of the picture.
        height_px: Height of the picture.
        seed: Decides texture and the unsteadiness of lines.
        palette: The style's colours, most used first.
    """

    scene: Scene
    width_px: int
    height_px: int
    seed: int
    palette: tuple[Colour, ...]

    @property
    def unit(self) -> float:
        """Pixels of the finished picture in one unit."""
        return min(self.width_px, self.height_px) / 100

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the finished picture."""
        return self.width_px, self.height_px

    def rng(self) -> np.random.Generator:
        """Return a fresh source of chance: the same for every call."""
        return np.random.default_rng(self.seed)

    def toned(self, back: float, hero: float) -> "Stage":
        """Return the stage with the scene's colours drawn towards the palette."""
        return replace(self, scene=self.scene.toned(self.palette, back, hero))

    def px(self, units: float, *, least: float = 1.0) -> float:
        """Return a length in pixels of the finished picture, `least` at the least."""
        return max(least, units * self.unit)


def gradient(top: Colour, bottom: Colour, size: tuple[int, int]) -> Image.Image:
    """Return a picture going evenly from `top` to `bottom`."""
    strip = Image.new("RGB", (1, 256))
    for y in range(256):
        strip.putpixel((0, y), mix(top, bottom, y / 255))
    return strip.resize(size, Image.Resampling.BICUBIC)


def sky(stage: Stage, *, scale: int = OVERSAMPLE) -> Image.Image:
    """Return the scene's sky, `scale` times the size of the picture."""
    size = stage.width_px * scale, stage.height_px * scale
    return gradient(*stage.scene.sky, size)


def corners(points: Points, k: float) -> list[tuple[float, float]]:
    """Return an outline as Pillow takes it, `k` pixels to the unit."""
    return [tuple(p) for p in (points * k).tolist()]


def fill(image: Image.Image, patches: Sequence[Patch], k: float) -> Image.Image:
    """Paint patches onto `image`, `k` pixels to the unit, and return it."""
    draw = ImageDraw.Draw(image)
    for patch in patches:
        draw.polygon(corners(patch.points, k), fill=patch.colour)
    return image


def contour(
    image: Image.Image, patches: Sequence[Patch], k: float, ink: Colour | int, width: float
) -> Image.Image:
    """Draw the outlines of patches, `width` pixels thick, and return the image."""
    draw = ImageDraw.Draw(image)
    for patch in patches:
        ring = corners(patch.points, k)
        draw.line([*ring, *ring[:2]], fill=ink, width=max(1, round(width)), joint="curve")
    return image


def painted(stage: Stage, *layers: Layer) -> Image.Image:
    """Return the scene painted plainly (all layers if none is named), edges smooth."""
    large = sky(stage)
    fill(large, stage.scene.of(*(layers or tuple(Layer))), stage.unit * OVERSAMPLE)
    return large.reduce(OVERSAMPLE)


def mask(stage: Stage, patches: Sequence[Patch]) -> Image.Image:
    """Return where patches are: white inside, black outside, edges smooth."""
    large = Image.new("L", (stage.width_px * OVERSAMPLE, stage.height_px * OVERSAMPLE))
    draw = ImageDraw.Draw(large)
    for patch in patches:
        draw.polygon(corners(patch.points, stage.unit * OVERSAMPLE), fill=255)
    return large.reduce(OVERSAMPLE)


def shifted(image: Image.Image, dx: float, dy: float) -> Image.Image:
    """Return a mask moved by some pixels, black where nothing was."""
    blank = Image.new(image.mode, image.size)
    blank.paste(image, (round(dx), round(dy)))
    return blank


def grown(image: Image.Image, px: float) -> Image.Image:
    """Return a mask grown by about `px` pixels, with round corners."""
    spread = image.filter(ImageFilter.GaussianBlur(px))
    return spread.point([min(255, max(0, (v - 14) * 20)) for v in range(256)])


def blurred(image: Image.Image, px: float) -> Image.Image:
    """Return the image out of focus by `px` pixels."""
    return image.filter(ImageFilter.GaussianBlur(px))


@cache
def _noise_tile(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (256, 256), dtype=np.uint8)
    return Image.fromarray(values)


def noise(stage: Stage, cell: float, *, seed: int = 1) -> Image.Image:
    """Return smooth chance as a grey picture; `cell` is the size of its blotches in units."""
    across = min(250, max(2, round(stage.width_px / stage.unit / cell)))
    down = min(250, max(2, round(stage.height_px / stage.unit / cell)))
    tile = _noise_tile(seed).crop((0, 0, across, down))
    return tile.resize(stage.size, Image.Resampling.BICUBIC)


def grain(stage: Stage, cell: float, *, seed: int = 2) -> Image.Image:
    """Return fine chance, repeated over the picture: paper, film. `cell` in units."""
    side = max(32, round(256 * cell * stage.unit))
    tile = _noise_tile(seed).resize((side, side), Image.Resampling.BICUBIC)
    sheet = Image.new("L", stage.size)
    for x in range(0, stage.width_px, side):
        for y in range(0, stage.height_px, side):
            sheet.paste(tile, (x, y))
    return sheet


def textured(image: Image.Image, texture: Image.Image, strength: float) -> Image.Image:
    """Return the image made lighter and darker by a grey texture; `strength` 0 to 1."""
    low = [round(128 + (v - 128) * strength) for v in range(256)]
    return ImageChops.overlay(image, Image.merge("RGB", [texture.point(low)] * 3))


def vignette(image: Image.Image, strength: float) -> Image.Image:
    """Return the image darkened towards its corners; `strength` 0 to 1."""
    falloff = Image.radial_gradient("L").resize(image.size, Image.Resampling.BICUBIC)
    curve = [round(255 - 255 * strength * max(0.0, v / 255 - 0.35) ** 1.5) for v in range(256)]
    return ImageChops.multiply(image, Image.merge("RGB", [falloff.point(curve)] * 3))
