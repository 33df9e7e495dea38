"""A scene: what is where, as coloured outlines in units; the short side is 100 units."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np

from imagemill.providers.sketch.colour import Colour, drawn_to, mix, parse, shade
from imagemill.providers.sketch.drawing import colour_of, marks, vocabulary
from imagemill.providers.sketch.geometry import Points


class Layer(IntEnum):
    """How near a patch is; painted in this order."""

    BACK = 0
    MIDDLE = 1
    HERO = 2
    FRONT = 3


@dataclass(frozen=True, slots=True)
class Patch:
    """One filled outline. `thing` counts the drawn things; -1 is scenery that no one asked for."""

    points: Points
    colour: Colour
    layer: Layer = Layer.BACK
    thing: int = -1


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture before it is drawn in some technique.

    Attributes:
        width: In units; the shorter of `width` and `height` is 100.
        sky: Its colours at the top and at the bottom.
        light: Where light comes from, in units; sunbursts and rays start there.
        dark: Whether it is night, or space, or the deep.
    """

    width: float
    height: float
    sky: tuple[Colour, Colour]
    patches: tuple[Patch, ...]
    light: tuple[float, float] = (72.0, 20.0)
    dark: bool = False

    def of(self, *layers: Layer) -> tuple[Patch, ...]:
        """Return the patches of some layers, in painting order."""
        return tuple(patch for patch in self.patches if patch.layer in layers)

    def toned(self, palette: Sequence[Colour], back: float, hero: float) -> "Scene":
        """Return the scene with its colours drawn towards `palette` (strengths 0 to 1)."""
        pull = {Layer.BACK: back, Layer.MIDDLE: (back + hero) / 2, Layer.HERO: hero,
                Layer.FRONT: back}  # fmt: skip
        top, bottom = (drawn_to(c, palette, back) for c in self.sky)
        patches = tuple(
            replace(p, colour=drawn_to(p.colour, palette, pull[p.layer])) for p in self.patches
        )
        return replace(self, sky=(top, bottom), patches=patches)


@dataclass(slots=True)
class Setting:
    """A backdrop under construction, and where subjects may stand in it.

    Attributes:
        ground: Height of the line that heroes stand on, as a share of the picture's height.
        horizon: Height of the line that scenery stands on, likewise.
        floating: Whether heroes float (space, deep sea, sky) rather than stand.
        tint: What the light does to colours: a colour and how strong it is.
    """

    width: float
    height: float
    rng: np.random.Generator
    sky: tuple[Colour, Colour]
    ground: float = 0.88
    horizon: float = 0.66
    floating: bool = False
    dark: bool = False
    shadow: Colour | None = None
    light: tuple[float, float] = (72.0, 20.0)
    tint: tuple[Colour, float] = ((0, 0, 0), 0.0)
    back: list[Patch] = field(default_factory=list)
    front: list[Patch] = field(default_factory=list)

    def add(self, points: Points, colour: str | Colour, layer: Layer = Layer.BACK) -> None:
        """Add an outline, tinted by the light; FRONT goes over the heroes."""
        plain = parse(colour) if isinstance(colour, str) else colour
        patch = Patch(points, mix(plain, *self.tint), layer)
        (self.front if layer is Layer.FRONT else self.back).append(patch)

    def put(
        self, name: str, at: tuple[float, float], scale: float, *, colour: str = ""
    ) -> None:  # fmt: skip
        """Add a drawing of the vocabulary as part of the backdrop; `at` is its foot."""
        self.back.extend(
            replace(patch, colour=mix(patch.colour, *self.tint))
            for patch in placed(name, at, scale, own=parse(colour) if colour else None)
        )


def ground_colour(patches: Sequence[Patch], height: float) -> Colour | None:
    """Return the colour of the nearest land or water that reaches the lower edge, if any."""
    low = (p.colour for p in reversed(patches) if p.points[:, 1].max() >= height + 1)
    return next(low, None)


def placed(
    name: str,
    at: tuple[float, float],
    scale: float,
    *,
    own: Colour | None = None,
    layer: Layer = Layer.BACK,
    thing: int = -1,
) -> list[Patch]:  # fmt: skip
    """Return a drawing with its foot's middle at `at`, `scale` 1 making it 100 units tall."""
    entry = vocabulary()[name]
    main = own or parse(entry.colour)
    accent = parse(entry.accent)
    if own is not None and abs(sum(main) - sum(accent)) < 40:
        accent = shade(accent, 2)
    return [
        Patch((mark.points - (50, 100)) * scale + at, colour_of(mark.paint, main, accent),
              layer, thing)
        for mark in marks(name)
    ]  # fmt: skip
