"""Compositions without a subject, for words that the vocabulary does not know."""

from collections.abc import Callable, Sequence

import numpy as np

from imagemill.providers.sketch.colour import Colour, luma, mix, parse
from imagemill.providers.sketch.geometry import ellipse, rectangle, sector, smooth, stroke
from imagemill.providers.sketch.scene import Layer, Patch, Scene

_FALLBACK = tuple(parse(c) for c in ("#1f4e8c", "#2bb3a3", "#f28c38", "#f5f7fa", "#16324f"))

Inks = list[Colour]


def abstract_scene(
    size: tuple[float, float], rng: np.random.Generator, palette: Sequence[Colour],
    mood: Colour | None,
) -> Scene:  # fmt: skip
    """Return a composition decided by `rng` in the style's colours, led by `mood` if given."""
    by_light = sorted(palette if len(palette) >= 3 else _FALLBACK, key=luma)
    inks = [*by_light[:-1], *([mood, mood, mix(mood, (255, 255, 255), 0.4)] if mood else [])]
    paper = by_light[-1]
    kind = _KINDS[int(rng.integers(len(_KINDS)))]
    patches = kind(size, rng, inks, paper)
    top = mix(paper, inks[int(rng.integers(len(inks)))], 0.22)
    return Scene(size[0], size[1], (top, paper), tuple(patches), light=(size[0] * 0.7, 20.0))


def _pick(rng: np.random.Generator, inks: Inks) -> Colour:
    return inks[int(rng.integers(len(inks)))]


def _hero(points: np.ndarray, colour: Colour, thing: int = 0) -> Patch:
    return Patch(points, colour, Layer.HERO, thing)


def _ribbons(
    size: tuple[float, float], rng: np.random.Generator, inks: Inks, paper: Colour
) -> list[Patch]:
    w, h = size
    patches = [Patch(ellipse(w * 0.7, h * 0.3, 17, 17), mix(_pick(rng, inks), paper, 0.3))]
    x = np.linspace(-5, w + 5, 60)
    phase, swell = rng.uniform(0, 6), rng.uniform(7, 13)
    for i in range(6):
        line = h * (0.34 + 0.11 * i) + swell * np.sin(x / (17 + i) + phase + i * 0.7)
        wave = np.concatenate([np.stack([x, line], axis=1), [(w + 5, h + 5), (-5, h + 5)]])
        patches.append(_hero(wave, mix(inks[i % len(inks)], paper, 0.42 - 0.07 * i), i))
    return patches


def _discs(
    size: tuple[float, float], rng: np.random.Generator, inks: Inks, paper: Colour
) -> list[Patch]:
    w, h = size
    patches: list[Patch] = []
    for i in range(int(15 * w * h / 10_000)):
        x, y, r = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(7, 24)
        patches.append(_hero(ellipse(x, y, r, r), mix(_pick(rng, inks), paper, 0.15), i))
        patches.append(_hero(ellipse(x, y, r * 0.66, r * 0.66), _pick(rng, inks), i))
        patches.append(_hero(sector(x, y, r * 0.66, r * 0.66, 0, 180), paper, i))
    return patches


def _tiles(
    size: tuple[float, float], rng: np.random.Generator, inks: Inks, paper: Colour
) -> list[Patch]:
    step = 20.0
    patches: list[Patch] = []
    for x in np.arange(0, size[0], step).tolist():
        for y in np.arange(0, size[1], step).tolist():
            patches.append(_hero(rectangle(x, y, step, step), mix(_pick(rng, inks), paper, 0.5)))
            corner, turn = _pick(rng, inks), int(rng.integers(4))
            cx, cy = x + step * (turn in (1, 2)), y + step * (turn in (2, 3))
            for share, ink in ((1.0, corner), (0.62, paper), (0.3, _pick(rng, inks))):
                r = step * share
                arc = sector(cx, cy, r, r, 90 * turn, 90 * turn + 90)
                patches.append(_hero(np.concatenate([arc, [(cx, cy)]]), ink))
    return patches


def _rings(
    size: tuple[float, float], rng: np.random.Generator, inks: Inks, paper: Colour
) -> list[Patch]:
    w, h = size
    cx, cy = w * rng.uniform(0.35, 0.65), h * rng.uniform(0.4, 0.6)
    patches: list[Patch] = []
    for i in range(8):
        r = 46 - 5.6 * i
        start = rng.uniform(0, 360)
        patches.append(_hero(ellipse(cx, cy, r, r), mix(paper, inks[i % len(inks)], 0.25), i))
        arc = sector(cx, cy, r - 2, r - 2, start, start + rng.uniform(120, 280))
        patches.append(_hero(stroke(arc, 3.6), inks[i % len(inks)], i))
    for _ in range(9):
        a, r = rng.uniform(0, 6.28), rng.uniform(30, 60)
        patches.append(
            _hero(ellipse(cx + r * np.cos(a), cy + r * np.sin(a), 2, 2), _pick(rng, inks))
        )
    return patches


def _petals(
    size: tuple[float, float], rng: np.random.Generator, inks: Inks, paper: Colour
) -> list[Patch]:
    w, h = size
    patches: list[Patch] = []
    for i in range(int(17 * w * h / 10_000)):
        x, y, length = rng.uniform(0, w), rng.uniform(0.1, 1) * h, rng.uniform(22, 46)
        lean = rng.uniform(-0.8, 0.8)
        tip = np.array([x + lean * length, y - length])
        middle = (np.array([x, y]) + tip) / 2
        across = np.array([length, lean * length]) * rng.uniform(0.16, 0.3)
        blade = smooth(np.array([(x, y), middle + across, tip, middle - across]))
        patches.append(_hero(blade, mix(_pick(rng, inks), paper, 0.1), i))
        patches.append(_hero(stroke(np.array([(x, y), tip]), 0.9), paper, i))
    return patches


_KINDS: tuple[
    Callable[[tuple[float, float], np.random.Generator, Inks, Colour], list[Patch]], ...
] = (_ribbons, _discs, _tiles, _rings, _petals)
