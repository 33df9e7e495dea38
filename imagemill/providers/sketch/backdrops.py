"""Settings: the ground, the water or the void that subjects are put in."""

from collections.abc import Callable, Sequence

import numpy as np

from imagemill.providers.sketch.colour import Colour, luma, mix, parse, shade
from imagemill.providers.sketch.deep import space, underwater
from imagemill.providers.sketch.geometry import ellipse, rectangle, smooth, stroke
from imagemill.providers.sketch.scene import Setting
from imagemill.providers.sketch.terrain import band, clouds, heavens, ridge, tufts, water

SKIES: dict[str, tuple[str, str]] = {
    "day": ("#7cc0ec", "#e4f4f8"),
    "sunset": ("#4e4488", "#fba65e"),
    "dawn": ("#8aa8dc", "#fcd6c4"),
    "night": ("#10183a", "#3b4a86"),
}
TINTS: dict[str, tuple[str, float]] = {
    "day": ("#ffffff", 0.0),
    "sunset": ("#c2503e", 0.24),
    "dawn": ("#f3c3c4", 0.25),
    "night": ("#141c4a", 0.55),
}


def build(
    place: str, time: str, size: tuple[float, float], rng: np.random.Generator,
    palette: Sequence[Colour], *, moon: bool = True,
) -> Setting:  # fmt: skip
    """Return the backdrop of a place at a time of day.

    Args:
        place: A key of `lexicon.PLACES`, or an entry's home.
        time: day, sunset, dawn or night.
        size: Width and height in units.
        rng: Decides what chance decides: hills, stars, grass.
        palette: The style's colours; the studio is painted in them.
        moon: Whether a night may have one; not when the words ask for their own.
    """
    top, bottom = SKIES[time]
    setting = Setting(*size, rng, (parse(top), parse(bottom)), dark=time == "night")
    colour, strength = TINTS[time]
    setting.tint = (parse(colour), strength)
    setting.light = (size[0] * 0.74, size[1] * 0.2)
    if place == "studio":
        _studio(setting, palette)
        return setting
    if place not in ("underwater", "space"):
        heavens(setting, time if moon or time != "night" else "moonless")
    _PLACES.get(place, _meadow)(setting)
    return setting


def _studio(s: Setting, palette: Sequence[Colour]) -> None:
    s.tint = ((0, 0, 0), 0.0)
    by_light = sorted(palette, key=luma) or [parse("#dfe7ee"), parse("#f5f7fa")]
    paper = mix(by_light[-1], (255, 255, 255), 0.25)
    disc = mix(by_light[len(by_light) // 2], paper, 0.62)
    if s.dark:
        paper, disc = mix(by_light[0], (24, 26, 60), 0.5), mix(by_light[0], (90, 100, 170), 0.5)
    s.sky = (paper, mix(paper, disc, 0.16))
    x, y = s.width / 2, s.height * 0.48
    s.add(ellipse(x, y, 41, 41), disc)
    for dx, dy, r in ((-40, -24, 3.4), (39, -30, 2.2), (43, 12, 4), (-43, 16, 2)):
        s.add(ellipse(x + dx, y + dy, r, r), mix(disc, paper, 0.3))
    s.ground, s.horizon = 0.84, 0.78
    s.shadow = shade(disc, -0.9)


def _meadow(s: Setting) -> None:
    s.add(ridge(s, 0.6, 6, 38), "#a9d3a5")
    s.add(ridge(s, 0.68, 4, 44), "#7fbf74")
    s.add(ridge(s, 0.76, 2.5, 60), "#62ab5c")
    tufts(s, mix(parse("#4d9650"), *s.tint), 12, 0.82)


def _flowers(s: Setting) -> None:
    _meadow(s)
    for _ in range(int(26 * s.width / 100)):
        x, y = s.rng.uniform(0, s.width), s.height * s.rng.uniform(0.78, 0.99)
        colour = ("#f6a5c0", "#fde08a", "#ffffff", "#c79be8")[int(s.rng.integers(4))]
        s.add(stroke(np.array([(x, y), (x, y + 4)]), 0.6), "#3f8a4a")
        for turn in range(5):
            a = turn * 1.257
            s.add(ellipse(x + np.cos(a) * 1.3, y + np.sin(a) * 1.3, 0.9, 0.9), colour)
        s.add(ellipse(x, y, 0.8, 0.8), "#f2b632")


def _autumn(s: Setting) -> None:
    s.add(ridge(s, 0.6, 6, 38), "#e2bd86")
    for i in range(int(s.width / 16) + 1):
        colour = ("#d9772f", "#c9502f", "#e3a33a")[int(s.rng.integers(3))]
        s.put("tree", (i * 16 + s.rng.uniform(-3, 3), s.height * 0.72), s.rng.uniform(0.22, 0.32),
              colour=colour)  # fmt: skip
    s.add(ridge(s, 0.7, 3, 44), "#cf9a52")
    s.add(ridge(s, 0.8, 2.5, 60), "#b9803f")
    for _ in range(int(34 * s.width / 100)):
        x, y = s.rng.uniform(0, s.width), s.height * s.rng.uniform(0.3, 0.99)
        turn = s.rng.uniform(0, 180)
        colour = ("#e06a2c", "#c43f2b", "#f0b23c")[int(s.rng.integers(3))]
        s.add(ellipse(x, y, 1.8, 0.9, turn), colour)


def _snow(s: Setting) -> None:
    s.add(ridge(s, 0.56, 9, 22, jagged=True), "#b4c8e0")
    for i in range(int(s.width / 9) + 1):
        s.put("pine", (i * 9 + s.rng.uniform(-3, 3), s.height * 0.7), s.rng.uniform(0.14, 0.26),
              colour="#5f8c92")  # fmt: skip
    s.add(ridge(s, 0.68, 3, 40), "#dbe8f4")
    s.add(ridge(s, 0.77, 3, 60), "#f3f8fd")
    s.shadow = parse("#b9cbe3")


def _forest(s: Setting) -> None:
    for row, (at, colour, size) in enumerate((
        (0.68, "#9cc7a8", 0.5), (0.74, "#6ba985", 0.56), (0.8, "#3f8463", 0.62),
    )):  # fmt: skip
        step = 13 + 2 * row
        for i in range(int(s.width / step) + 2):
            x = i * step + s.rng.uniform(-4, 4)
            if row == 2 and abs(x - s.width / 2) < 28:
                continue
            s.put("pine", (x, s.height * at + 4), s.rng.uniform(0.8, 1.15) * size, colour=colour)
        s.add(ridge(s, at - 0.045, 1.5, 40), shade(parse(colour), -0.4))
    s.add(ridge(s, 0.79, 2, 50), "#5b9358")
    tufts(s, mix(parse("#3f7a4a"), *s.tint), 12, 0.86)


def _mountains(s: Setting) -> None:
    s.horizon = 0.72
    s.add(ridge(s, 0.44, 12, 15, jagged=True), "#b9c6dc")
    s.add(ridge(s, 0.56, 9, 16, jagged=True), "#8fa0c0")
    s.add(ridge(s, 0.68, 4, 40), "#6f9f86")
    s.add(ridge(s, 0.77, 3, 60), "#58906a")
    tufts(s, mix(parse("#3f7a55"), *s.tint), 9, 0.84)


def _desert(s: Setting) -> None:
    s.add(ridge(s, 0.58, 6, 46), "#f0cf93")
    s.add(ridge(s, 0.68, 5, 54), "#e6b873")
    s.add(ridge(s, 0.79, 3, 60), "#dba45c")
    s.shadow = parse("#b57d42")


def _sea(s: Setting) -> None:
    s.ground, s.horizon, s.shadow = 0.83, 0.64, None
    water(s, 0.6, "#3f93c4", front=0.8)


def _pond(s: Setting) -> None:
    s.add(ridge(s, 0.54, 4, 30), "#9ccaa0")
    s.add(ridge(s, 0.6, 2, 40), "#74b274")
    water(s, 0.64, "#5aa9c9", front=0.84)
    s.ground, s.horizon, s.shadow = 0.88, 0.64, None


def _river(s: Setting) -> None:
    s.add(ridge(s, 0.56, 5, 30), "#9ccaa0")
    water(s, 0.68, "#4f9cc6", front=0.0)
    s.ground, s.horizon, s.shadow = 0.84, 0.78, None


def _coast(s: Setting) -> None:
    water(s, 0.58, "#3f93c4", front=0.0)
    line = np.array([(-4, 0.84), (0.2, 0.76), (0.5, 0.74), (0.8, 0.78), (1.1, 0.88)])
    land = smooth(line * (s.width, s.height), closed=False)
    foot = np.array([(s.width * 1.1, s.height + 4), (-4 * s.width, s.height + 4)])
    s.add(np.concatenate([land, foot]), "#6fae68")
    s.add(np.concatenate([land + np.array([0, 9]), foot]), "#5b9a5a")
    s.ground, s.horizon = 0.86, 0.78


def _beach(s: Setting) -> None:
    water(s, 0.54, "#4bb3cf", front=0.0)
    s.add(ridge(s, 0.71, 1.5, 30), "#fdf4df")
    s.add(ridge(s, 0.735, 1.5, 30), "#f0d8a2")
    s.put("palm", (s.width * 0.12, s.height * 0.78), 0.52)
    s.shadow = parse("#cfae74")


def _city(s: Setting) -> None:
    for at, colour, tall in ((0.74, "#b9cbe0", 40), (0.78, "#8ba6c8", 28)):
        x = -4.0
        while x < s.width + 4:
            wide, high = s.rng.uniform(8, 15), s.rng.uniform(0.35, 1) * tall
            top = s.height * at - high
            s.add(rectangle(x, top, wide, high + 30), colour)
            for wy in np.arange(top + 3, s.height * at - 3, 4.6):
                for wx in np.arange(x + 2, x + wide - 2.4, 3.6):
                    if s.rng.uniform() < 0.4:
                        _window(s, float(wx), float(wy))
            x += wide + s.rng.uniform(0, 2)
    s.add(band(s, 0.78), "#7d8794")
    s.add(band(s, 0.78, 0.8), "#c3c9cf")
    s.shadow = parse("#565f6c")


def _window(s: Setting, x: float, y: float) -> None:
    keep, s.tint = s.tint, ((0, 0, 0), 0.0)
    s.add(rectangle(x, y, 1.5, 2.1), "#ffd873" if s.dark else "#e9f2fa")
    s.tint = keep


def _road(s: Setting) -> None:
    s.add(ridge(s, 0.6, 5, 38), "#a5d0a8")
    s.add(ridge(s, 0.68, 2, 44), "#7fbf74")
    s.add(band(s, 0.76), "#676d7a")
    s.add(band(s, 0.76, 0.775), "#d9dce0")
    for i in range(int(s.width / 18) + 1):
        s.add(rectangle(i * 18, s.height * 0.92, 9, 1.4), "#f4e3a0")
    s.shadow = parse("#4a505c")


def _rails(s: Setting) -> None:
    s.add(ridge(s, 0.6, 6, 38), "#a5d0a8")
    s.add(ridge(s, 0.7, 3, 44), "#7fbf74")
    s.add(band(s, 0.84), "#a58d72")
    for i in range(int(s.width / 6) + 1):
        s.add(rectangle(i * 6, s.height * 0.885, 3.4, 3), "#6b4a34")
    s.add(rectangle(-2, s.height * 0.875, s.width + 4, 1.3), "#8a93a0")
    s.shadow = None


def _air(s: Setting) -> None:
    s.floating = True
    clouds(s, mix((255, 255, 255), *s.tint), 3)
    s.add(ridge(s, 0.9, 3, 30), "#9ccaa0")
    s.add(ridge(s, 0.95, 2, 44), "#74b274")


def _blossom(s: Setting) -> None:
    s.add(ridge(s, 0.6, 7, 36), "#c6d3e6")
    s.add(ridge(s, 0.7, 3, 40), "#a8cf9c")
    for x in (0.08, 0.9):
        s.put("tree", (s.width * x, s.height * 0.8), 0.55, colour="#f4a9c2")
    s.add(ridge(s, 0.79, 2, 50), "#86bb7c")
    for _ in range(int(26 * s.width / 100)):
        x, y = s.rng.uniform(0, s.width), s.height * s.rng.uniform(0.1, 0.99)
        s.add(ellipse(x, y, 1.2, 0.7, s.rng.uniform(0, 180)), "#f9c6d6")


def _storm(s: Setting) -> None:
    s.sky, s.dark = (parse("#2c3350"), parse("#6d7a94")), True
    s.tint = (parse("#2a3050"), 0.3)
    s.add(ridge(s, 0.7, 4, 40), "#5f7f68")
    s.add(ridge(s, 0.8, 2, 50), "#4f6f58")


def _rain(s: Setting) -> None:
    s.sky = (parse("#8296ad"), parse("#cfdae2"))
    s.add(ridge(s, 0.66, 4, 40), "#9db5a6")
    s.add(band(s, 0.78), "#7f929e")
    for _ in range(int(9 * s.width / 100)):
        x, y = s.rng.uniform(0, s.width), s.height * s.rng.uniform(0.82, 0.98)
        s.add(ellipse(x, y, s.rng.uniform(4, 9), 1.1), "#a9bac6")
    s.shadow = parse("#64757f")


_PLACES: dict[str, Callable[[Setting], None]] = {
    "meadow": _meadow, "flowers": _flowers, "autumn": _autumn, "snow": _snow, "forest": _forest,
    "mountains": _mountains, "desert": _desert, "sea": _sea, "pond": _pond, "river": _river,
    "coast": _coast, "beach": _beach, "underwater": underwater, "space": space, "city": _city,
    "road": _road, "rails": _rails, "air": _air, "blossom": _blossom, "storm": _storm,
    "rain": _rain, "night": _meadow,
}  # fmt: skip
