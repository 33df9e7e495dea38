"""Settings without ground: the deep sea and space."""

import numpy as np

from imagemill.providers.sketch.colour import mix, parse
from imagemill.providers.sketch.geometry import ellipse, smooth, stroke
from imagemill.providers.sketch.scene import Setting
from imagemill.providers.sketch.terrain import ridge, stars


def underwater(s: Setting) -> None:
    """Add shafts of light, sand, weeds and bubbles."""
    s.sky = (parse("#4fc0d8"), parse("#0f4a86"))
    if s.dark:
        s.sky = (parse("#1f5f9a"), parse("#0a1f52"))
    s.tint, s.floating, s.light = (parse("#0f5a9a"), 0.12), True, (s.width * 0.5, -10)
    for x, wide in ((0.12, 9), (0.42, 13), (0.74, 10)):
        left = s.width * x
        points = np.array([(left, -2), (left + wide, -2), (left + wide * 2.2, s.height * 0.9),
                           (left - wide * 0.4, s.height * 0.9)])  # fmt: skip
        s.add(points, mix(s.sky[0], (220, 250, 255), 0.16))
    s.add(ridge(s, 0.86, 3, 34), "#2d7f9c")
    s.add(ridge(s, 0.92, 2, 40), "#d9c28c")
    for i in range(int(s.width / 10)):
        x, top = i * 10 + s.rng.uniform(0, 7), s.height * s.rng.uniform(0.72, 0.88)
        colour = ("#2f9a6a", "#e0607a", "#f0924a", "#3fae86")[int(s.rng.integers(4))]
        stem = np.linspace(s.height * 0.97, top, 6)
        bend = np.stack([x + 1.8 * np.sin(stem / 3 + i), stem], axis=1)
        s.add(stroke(smooth(bend, closed=False), 2.2), colour)
    for _ in range(int(16 * s.width / 100)):
        (left, height, r) = s.rng.uniform((0, 0.05, 0.6), (s.width, 0.8, 1.8)).tolist()
        x, y = left, height * s.height
        s.add(ellipse(x, y, r, r), "#a7e4ee")
        s.add(ellipse(x - r * 0.3, y - r * 0.3, r * 0.3, r * 0.3), "#ffffff")


def space(s: Setting) -> None:
    """Add nebulae, stars, a ringed planet and the edge of a near one."""
    s.sky, s.dark, s.floating, s.tint = (
        (parse("#0c1030"), parse("#3a2a6a")),
        True,
        True,
        ((0, 0, 0), 0),
    )
    for x, y, r, colour in ((0.2, 0.7, 34, "#33286a"), (0.8, 0.24, 28, "#2a2f74")):
        s.add(ellipse(s.width * x, s.height * y, r, r * 0.7, -20), colour)
    stars(s, 70, 1.0)
    x, y = s.width * 0.14, s.height * 0.16
    s.add(ellipse(x, y, 7, 7), "#d98a5a")
    s.add(ellipse(x + 1.6, y + 1.4, 4.6, 4.6), "#c47548")
    s.add(ellipse(x, y, 12.5, 2, -16), "#f0c48a")
    s.add(ellipse(s.width * 0.88, s.height * 1.02, 30, 22), "#6a72c8")
    s.add(ellipse(s.width * 0.84, s.height * 0.93, 4, 2.2), "#565db0")
    s.add(ellipse(s.width * 0.95, s.height * 0.9, 3, 1.6), "#565db0")
