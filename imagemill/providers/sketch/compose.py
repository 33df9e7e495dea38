"""Putting it together: a brief, a style's palette and a seed become a scene."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from imagemill.providers.sketch.abstract import abstract_scene
from imagemill.providers.sketch.backdrops import build
from imagemill.providers.sketch.colour import Colour, mix, shade
from imagemill.providers.sketch.drawing import marks, vocabulary
from imagemill.providers.sketch.geometry import ellipse, extent, stroke
from imagemill.providers.sketch.scene import Layer, Patch, Scene, Setting, ground_colour, placed
from imagemill.providers.sketch.words import MAX_THINGS, Brief, Subject

HERO_SCALE = 0.68
"""How much of the short side a lone hero fills."""
_HANDY = 0.62
"""How large a thing of the table is next to a creature or a building."""


@dataclass(frozen=True, slots=True)
class _Spot:
    x: float
    y: float
    scale: float


def compose(
    brief: Brief, size: tuple[float, float], rng: np.random.Generator, palette: Sequence[Colour]
) -> Scene:
    """Return the scene that a brief asks for.

    Args:
        brief: What the words ask to see; an empty one becomes an abstract composition.
        size: Width and height in units, the shorter being 100.
        rng: Decides everything the words leave open.
        palette: The style's colours.
    """
    if brief.empty:
        return abstract_scene(size, rng, palette, brief.mood)
    place, time = _place_and_time(brief)
    if place == "rain" and not brief.weather:
        brief = replace(brief, weather="rain")
    moonless = any(subject.name == "moon" for subject in brief.subjects)
    setting = build(place, time, size, rng, palette, moon=not moonless)
    things = [*_scenery(brief, setting), *_sky(brief, setting), *_heroes(brief, setting)]
    front = [*setting.front, *_weather(brief, setting)]
    return Scene(
        width=size[0], height=size[1], sky=setting.sky, light=setting.light, dark=setting.dark,
        patches=(*setting.back, *things, *front),
    )  # fmt: skip


def _place_and_time(brief: Brief) -> tuple[str, str]:
    place, time = brief.place, brief.time
    homes = [vocabulary()[s.name].home for s in brief.subjects]
    if not place:
        place = next((home for home in homes if home not in ("meadow", "studio")), "")
        place = "sea" if place == "coast" and "sea" in homes else place
    if not place:
        outdoors = brief.weather or "meadow" in homes or not homes
        place = (brief.weather or "meadow") if outdoors else "studio"
    if place == "night":
        place, time = "meadow", "night"
    if place == "studio" and time != "day" and not brief.place:
        place = "meadow"
    if brief.weather == "storm":
        place = place if place in ("sea", "coast") else "storm"
    return place, time


def _role(subject: Subject, brief: Brief) -> str:
    """Return the part a subject plays; scenery is the hero when there is no other."""
    if subject.side == "up":
        return "sky"
    entry = vocabulary()[subject.name]
    role = "sky" if entry.home == "air" else entry.role
    others = {vocabulary()[s.name].role for s in brief.subjects}
    return "hero" if role == "scenery" and "hero" not in others else role


def _of_role(brief: Brief, role: str) -> list[Subject]:
    return [s for s in brief.subjects if _role(s, brief) == role]


def _copies(subjects: Sequence[Subject]) -> list[Subject]:
    return [s for s in subjects for _ in range(s.count)][:MAX_THINGS]


def _draw(subject: Subject, spot: _Spot, layer: Layer, thing: int, setting: Setting) -> list[Patch]:
    patches = placed(subject.name, (spot.x, spot.y), spot.scale, own=subject.colour, layer=layer,
                     thing=thing)  # fmt: skip
    colour, strength = setting.tint
    share = 0.0 if vocabulary()[subject.name].role == "sky" else 0.3 * strength
    return [replace(p, colour=mix(p.colour, colour, share)) for p in patches]


def _scenery(brief: Brief, s: Setting) -> list[Patch]:
    copies = _copies(_of_role(brief, "scenery"))
    patches: list[Patch] = []
    for i, subject in enumerate(copies):
        x = s.width * ((0.18, 0.82, 0.5, 0.34, 0.66)[i % 5])
        scale = 0.4 * vocabulary()[subject.name].size * subject.scale
        y = s.height * s.horizon + 5 + 3 * (i % 2)
        patches += _draw(subject, _Spot(x, y, scale), Layer.MIDDLE, 100 + i, s)
    return patches


def _sky(brief: Brief, s: Setting) -> list[Patch]:
    copies = _copies(_of_role(brief, "sky"))
    if not copies:
        return []
    if all(_role(subject, brief) == "sky" for subject in brief.subjects):
        spots, layer = (
            _spots(len(copies), s, afloat=True, middle=0.5 if s.floating else 0.42),
            Layer.HERO,
        )
    else:
        spots, layer = _high_up(len(copies), s), Layer.MIDDLE
    patches: list[Patch] = []
    for i, (subject, spot) in enumerate(zip(copies, spots, strict=True)):
        size = min(vocabulary()[subject.name].size, 1.25) * subject.scale
        patches += _draw(subject, replace(spot, scale=spot.scale * size), layer, 200 + i, s)
    return patches


def _high_up(count: int, s: Setting) -> list[_Spot]:
    """Return where things of the sky go when something else has the stage."""
    scale = min(0.27, s.width / count / 115)
    first = 0.8 if s.floating else 0.22
    xs = [first] if count == 1 else [(i + 0.5) / count for i in range(count)]
    return [_Spot(s.width * x, 0.31 * s.height + 6 * (i % 2), scale) for i, x in enumerate(xs)]


def _heroes(brief: Brief, s: Setting) -> list[Patch]:
    copies = _copies(_of_role(brief, "hero"))
    if not copies:
        return []
    patches: list[Patch] = []
    outdoors = any(vocabulary()[c.name].home != "studio" for c in copies)
    order = sorted(range(len(copies)), key=lambda i: _side_rank(copies[i]))
    for i, spot in zip(order, _spots(len(copies), s, afloat=s.floating), strict=True):
        subject, entry = copies[i], vocabulary()[copies[i].name]
        size = entry.size * subject.scale
        if outdoors and entry.home == "studio":
            size *= _HANDY
        scale = spot.scale * min(size, 1.42 if len(copies) == 1 else 1.15)
        scale = min(scale, (spot.y - 4) / (100 - _top(subject.name)))
        if not (s.floating or s.front):
            patches.append(_shadow(spot, scale, s))
        patches += _draw(subject, replace(spot, scale=scale), Layer.HERO, i, s)
    return patches


def _shadow(spot: _Spot, scale: float, s: Setting) -> Patch:
    colour = s.shadow or shade(ground_colour(s.back, s.height) or (90, 110, 120), -1.2)
    return Patch(ellipse(spot.x, spot.y - 1.2 * scale, 42 * scale, 6 * scale), colour, Layer.MIDDLE)


@cache
def _top(name: str) -> float:
    return min(extent(mark.points)[1] for mark in marks(name))


def _side_rank(subject: Subject) -> int:
    return {"left": -1, "right": 1}.get(subject.side, 0)


def _spots(count: int, s: Setting, *, afloat: bool, middle: float = 0.5) -> list[_Spot]:
    """Return where `count` things go, the nearest last.

    Args:
        count: How many, at least 1.
        s: The setting.
        afloat: Around `middle` (a share of the height) rather than on the ground.
        middle: Only for things afloat.
    """
    wide = max(1, round(s.width / 44))
    rows = 1 if count <= wide else min(3, math.ceil(count / max(wide, 3)) + (count in (3, 4)))
    per_row = _rows(count, rows)
    scale = HERO_SCALE / (1 + 0.45 * (rows - 1))
    slots = [min(s.width * 0.92 / here, 62.0) for here in per_row]
    scale = min(scale, min(slots) / 84)
    rise = 100 * scale * (0.9 if afloat else 0.5)
    base = middle * s.height + 50 * scale + rise * (rows - 1) / 2
    if not afloat:
        base = min(s.ground * s.height + 5 * (rows - 1), s.height * 0.97)
    spots: list[_Spot] = []
    for row, (here, slot) in enumerate(zip(per_row, slots, strict=True)):
        start = s.width / 2 - slot * (here - 1) / 2
        if row and here == per_row[row - 1]:
            start += slot * (0.25 if row % 2 else -0.25)
        depth = row - (rows - 1)
        for i in range(here):
            bob = s.rng.uniform(-5, 5) if afloat and count > 1 else 0.0
            spots.append(
                _Spot(start + slot * i, base + rise * depth + bob, scale * (1 + 0.08 * depth))
            )
    return spots


def _rows(count: int, rows: int) -> list[int]:
    even, left = divmod(count, rows)
    return sorted((even + (1 if i < left else 0) for i in range(rows)), reverse=True)


def _weather(brief: Brief, s: Setting) -> list[Patch]:
    if brief.weather == "snow":
        count, rng = int(60 * max(s.width, s.height) / 100), s.rng
        spots = rng.uniform(0, 1, (count, 3)) * (s.width, s.height, 1)
        return [Patch(ellipse(x, y, 0.5 + 0.8 * r, 0.5 + 0.8 * r), (255, 255, 255), Layer.FRONT)
                for x, y, r in spots.tolist()]  # fmt: skip
    if brief.weather in ("rain", "storm"):
        spots = s.rng.uniform(0, 1, (int(70 * max(s.width, s.height) / 100), 2))
        return [
            Patch(stroke(np.array([(x, y), (x - 1.4, y + 5)]), 0.45), (214, 230, 243), Layer.FRONT)
            for x, y in (spots * (s.width, s.height)).tolist()
        ]
    return []
