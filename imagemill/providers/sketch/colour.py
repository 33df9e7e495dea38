"""Colours as (red, green, blue), each 0 to 255, and what light does to them."""

import colorsys
from collections.abc import Sequence

Colour = tuple[int, int, int]

NAMED: dict[str, str] = {
    "w": "#ffffff", "k": "#2a2631", "grey": "#9aa0a8", "wood": "#8a5a35", "leaf": "#4f9d4f",
    "pine": "#2f7050", "skin": "#f0c19a", "gold": "#f2b632", "cream": "#fdf1dd", "pink": "#f29bb0",
    "red": "#d9402f", "blue": "#3f74c9", "sky": "#9fd3ee", "sea": "#2f86b5", "steel": "#c3ccd6",
    "sand": "#ecd5a0", "rock": "#8b8790", "fire": "#f58a2a", "glass": "#cfeaf2", "brown": "#7b4b2a",
    "earth": "#a9784c", "purple": "#8454b5", "beak": "#f5a427", "dark": "#474553",
}  # fmt: skip
"""Colours that drawings call by name."""


def parse(text: str) -> Colour:
    """Return `#rrggbb` as a colour."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Return a colour between: `share` 0 is `one`, 1 is `other`."""
    r, g, b = (round(a + (c - a) * share) for a, c in zip(one, other, strict=True))
    return r, g, b


def shade(colour: Colour, steps: float) -> Colour:
    """Return the colour lighter (steps > 0) or darker and a little cooler (steps < 0)."""
    if steps >= 0:
        return mix(colour, (255, 250, 240), 1 - 0.72**steps)
    r, g, b = (
        max(0, round(c * keep**-steps)) for c, keep in zip(colour, (0.76, 0.77, 0.83), strict=True)
    )
    return r, g, b


def luma(colour: Colour) -> float:
    """Return how bright a colour looks, 0 to 255 (Rec. 601 weights)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def saturated(colour: Colour, factor: float) -> Colour:
    """Return the colour with its saturation multiplied by `factor`."""
    h, s, v = colorsys.rgb_to_hsv(*(c / 255 for c in colour))
    r, g, b = (round(255 * c) for c in colorsys.hsv_to_rgb(h, min(1.0, s * factor), v))
    return r, g, b


def nearest(colour: Colour, palette: Sequence[Colour]) -> Colour:
    """Return the palette's colour that looks most like `colour`; `colour` if there is none."""

    def distance(other: Colour) -> float:
        weights = (0.30, 0.59, 0.25)
        return sum(w * (a - b) ** 2 for w, a, b in zip(weights, colour, other, strict=True))

    return min(palette, key=distance, default=colour)


def drawn_to(colour: Colour, palette: Sequence[Colour], strength: float) -> Colour:
    """Return the colour pulled towards the nearest of the palette by `strength` (0 to 1)."""
    return mix(colour, nearest(colour, palette), strength)
