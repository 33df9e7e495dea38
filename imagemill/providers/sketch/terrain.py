"""What backdrops are made of: strips of land, skies, clouds, stars, grass, water."""

import numpy as np

from imagemill.providers.sketch.colour import Colour, mix, parse, shade
from imagemill.providers.sketch.geometry import Points, ellipse, rectangle, smooth, star
from imagemill.providers.sketch.scene import Layer, Setting


def band(s: Setting, top: float, bottom: float = 1.02) -> Points:
    """Return a strip across the picture between two shares of its height."""
    return rectangle(-2, top * s.height, s.width + 4, (bottom - top) * s.height)


def ridge(s: Setting, at: float, swing: float, every: float, *, jagged: bool = False) -> Points:
    """Return land below an uneven line around the share `at` of the height.

    Args:
        s: The setting under construction.
        at: Where the line runs, as a share of the height.
        swing: How far it goes up and down, in units.
        every: Distance between its tops, in units.
        jagged: Peaks rather than hills.
    """
    count = max(3, int(s.width / every) + 3)
    x = np.linspace(-every, s.width + every, count)
    high = s.rng.uniform(-1, 1, count) * swing
    line = np.stack([x, at * s.height + high], axis=1)
    line = line if jagged else smooth(line, closed=False, steps=10)
    foot = np.array([(s.width + every, s.height + 4), (-every, s.height + 4)])
    return np.concatenate([line, foot])


def heavens(s: Setting, time: str) -> None:
    """Add what is in the sky at a time of day, untinted."""
    keep, s.tint = s.tint, ((0, 0, 0), 0.0)
    x, y = s.light
    if time in ("night", "moonless"):
        stars(s, 46, 0.6)
    if time == "night":
        s.add(ellipse(x, y, 13, 13), mix(s.sky[0], (255, 244, 200), 0.16))
        s.add(ellipse(x, y, 8.5, 8.5), "#f6ecc4")
        s.add(ellipse(x - 2.6, y - 2, 1.8, 1.8), "#e3d6a4")
        s.add(ellipse(x + 2.4, y + 2.6, 1.3, 1.3), "#e3d6a4")
    elif time in ("sunset", "dawn"):
        y = s.height * (0.54 if time == "sunset" else 0.5)
        s.light = (x, y)
        glow = (255, 205, 120) if time == "sunset" else (255, 240, 214)
        for radius, share in ((34, 0.25), (24, 0.4), (14, 1.0)):
            s.add(ellipse(x, y, radius, radius), mix(s.sky[1], glow, share))
        clouds(s, mix(s.sky[1], (255, 170, 150), 0.5), 3)
    elif time == "day":
        clouds(s, (255, 255, 255), 3)
    s.tint = keep


def clouds(s: Setting, colour: Colour, count: int) -> None:
    """Add at least `count` clouds."""
    count = max(count, int(s.width / 45))
    for i in range(count):
        x = (i + s.rng.uniform(0.1, 0.8)) / count * s.width
        y = s.height * s.rng.uniform(0.08, 0.34)
        wide = s.rng.uniform(9, 15)
        for dx, dy, r in ((-0.8, 0.1, 0.42), (-0.2, -0.16, 0.56), (0.5, 0.02, 0.46)):
            s.add(ellipse(x + dx * wide, y + dy * wide, r * wide, r * wide * 0.72), colour)
        s.add(rectangle(x - 1.2 * wide, y + 0.1 * wide, 2.2 * wide, 0.3 * wide, wide), colour)


def stars(s: Setting, count: int, reach: float) -> None:
    """Add stars over the upper share `reach` of the picture."""
    for _ in range(int(count * max(s.width, s.height) / 100)):
        x, y = s.rng.uniform(0, s.width), s.rng.uniform(0, s.height * reach)
        size = s.rng.uniform(0.25, 0.7)
        shape = star(x, y, size * 3, size * 0.7, 4) if size > 0.62 else ellipse(x, y, size, size)
        s.add(shape, "#fff6da")


def tufts(s: Setting, colour: Colour, count: int, top: float) -> None:
    """Add tufts of grass below the share `top` of the height."""
    for _ in range(int(count * s.width / 100)):
        x, y = s.rng.uniform(0, s.width), s.height * s.rng.uniform(top, 0.99)
        for lean in (-1.6, 0.0, 1.6):
            s.add(np.array([(x - 0.5, y), (x + lean, y - 3.4), (x + 0.5, y)]), colour)


def water(s: Setting, top: float, colour: str, *, front: float) -> None:
    """Add water below the share `top`, with waves over the heroes' feet at the share `front`."""
    base = parse(colour)
    s.add(band(s, top), base)
    for i in range(4):
        s.add(band(s, top + (1 - top) * i / 4), shade(base, -0.28 * i))
    for _ in range(int(26 * s.width / 100)):
        x, y = s.rng.uniform(0, s.width), s.height * s.rng.uniform(top + 0.02, 0.98)
        s.add(rectangle(x, y, s.rng.uniform(4, 11), 0.7, 0.3), shade(base, 1.1))
    if front:
        for at, tone in ((front, 0.35), (front + 0.07, -0.5)):
            s.add(_surf(s, at), shade(base, tone), Layer.FRONT)


def _surf(s: Setting, at: float) -> Points:
    x = np.linspace(-4, s.width + 4, int(s.width * 0.9))
    y = at * s.height + 1.3 * np.sin(x / 3.2 + s.rng.uniform(0, 6)) - 0.8 * np.cos(x / 7.3)
    foot = np.array([(s.width + 4, s.height + 4), (-4, s.height + 4)])
    return np.concatenate([np.stack([x, y], axis=1), foot])
