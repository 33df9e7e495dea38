"""How a scene is drawn: one function for each technique that a style may name."""

from collections.abc import Callable

from PIL import Image

from imagemill.providers.sketch.stage import Stage
from imagemill.providers.sketch.techniques.crafted import blueprint, paper_cut, sticker, ui
from imagemill.providers.sketch.techniques.drawn import anime, hand_drawn, line_art, neon
from imagemill.providers.sketch.techniques.painted import concept_art, photo, storybook, watercolor
from imagemill.providers.sketch.techniques.plain import flat, pixel, poster
from imagemill.providers.sketch.techniques.solid import isometric, low_poly

TECHNIQUES: dict[str, Callable[[Stage], Image.Image]] = {
    "flat": flat,
    "pixel": pixel,
    "hand_drawn": hand_drawn,
    "ui": ui,
    "watercolor": watercolor,
    "isometric": isometric,
    "photo": photo,
    "anime": anime,
    "line_art": line_art,
    "low_poly": low_poly,
    "sticker": sticker,
    "storybook": storybook,
    "concept_art": concept_art,
    "poster": poster,
    "paper_cut": paper_cut,
    "blueprint": blueprint,
    "neon": neon,
}
"""Techniques by the name that a style's `technique` gives; an unknown one is drawn flat."""
