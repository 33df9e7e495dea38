"""Packs with known truth: twelve drawings in one hand, and pictures in another one."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from imagemill.asset.request import AssetRequest, StyleGuide
from imagemill.asset.template import worded
from imagemill.prompt import find_style
from imagemill.providers.sketch.colour import parse
from imagemill.providers.sketch.provider import _PLAIN, draw
from imagemill.providers.sketch.scene import Layer, Scene, placed
from imagemill.providers.sketch.stage import Stage, mask
from imagemill.providers.sketch.techniques import TECHNIQUES
from imagemill.transparency import cut_out
from tests.builders import image_request

THINGS = (
    ("potion", "chest", "mushroom", "key", "crown", "sword", "shield", "gem", "scroll", "coin",
     "bow", "lamp"),
    ("fox", "cat", "owl", "rabbit", "bear", "frog", "penguin", "dragon", "turtle", "crab", "bee",
     "whale"),
    ("apple", "carrot", "cake", "donut", "cheese", "bread", "egg", "pumpkin", "grape", "pizza",
     "lemon", "cupcake"),
    ("knight", "wizard", "king", "ninja", "robot", "ghost", "astronaut", "person", "child", "snowman",
     "dancer", "woman"),
)  # fmt: skip
PALETTES = (
    ("#3b5dc9", "#38b764", "#ef7d57", "#ffcd75", "#1a1c2c", "#41a6f6", "#f4f4f4", "#b13e53"),
    ("#5b7f95", "#d98b5f", "#e8c872", "#7fa37a", "#3a3440", "#f8f1e1"),
    ("#2e222f", "#f79617", "#91db69", "#4d9be6", "#c32454", "#fdcbb0", "#0b8a8f", "#ffffff"),
)
HANDS = ("pixel_art", "hand_drawn", "ui")
TECHNICAL = ("flat", "watercolor", "anime", "line_art", "low_poly", "storybook", "photo", "neon",
             "paper_cut", "concept_art")  # fmt: skip
"""Techniques whose figures can be cut out of their scene by the truth."""


def asset(thing: str, hand: str, *, palette: int = 0, size_px: int = 256, seed: int = 1) -> np.ndarray:  # fmt: skip
    """An asset drawn by the sketch provider as the templates order it, cut out."""
    guide = StyleGuide(art_style=hand, color_palette=PALETTES[palette], pixel_density="48x48")
    words = worded(AssetRequest(id=thing, name=thing, description=thing.replace("_", " ")), guide)
    request = image_request(
        prompt=words.prompt, subject=words.subject, style=words.style, seed=seed,
        size=str(size_px),
    )  # fmt: skip
    data = draw(request, _PLAIN)
    picture = np.asarray(Image.open(BytesIO(data)).convert("RGBA"))
    return cut_out(picture, open_holes=True).picture


def technical(thing: str, technique: str, *, size_px: int = 256, seed: int = 1) -> np.ndarray:
    """A figure in a technique of the sketch provider, with the exact alpha of its outlines."""
    style = next(s for s in _styles() if s.technique == technique)
    patches = placed(thing, (50, 88), 0.76, layer=Layer.HERO, thing=0)
    scene = Scene(width=100, height=100, sky=((214, 224, 232), (214, 224, 232)),
                  patches=tuple(patches))  # fmt: skip
    stage = Stage(scene, size_px, size_px, seed, tuple(parse(c) for c in style.palette))
    rgb = np.asarray(TECHNIQUES[technique](stage).convert("RGB"))
    return np.dstack([rgb, np.asarray(mask(stage, patches))])


def _styles():
    names = ("Flat Corporate", "Watercolor", "Anime", "Line Art", "Low Poly", "Storybook",
             "Photorealistic", "Neon Glow", "Paper Cut", "Concept Art")  # fmt: skip
    return [find_style(name) for name in names]


def pack(number: int, *, seed: int = 0) -> list[np.ndarray]:
    """Twelve assets in one hand; 22 packs: 12 as assets are ordered, 10 in techniques."""
    seed = seed or number
    if number < 12:
        things, hand = THINGS[number % 4], HANDS[number // 4]
        return [asset(t, hand, palette=number % 3, seed=seed) for t in things]
    things, technique = THINGS[number % 4], TECHNICAL[(number - 12) % len(TECHNICAL)]
    return [technical(t, technique, seed=seed) for t in things]


PACKS = 22


def palette_of(number: int) -> tuple[str, ...]:
    """The colours that the style guide of the pack names."""
    if number < 12:
        return PALETTES[number % 3]
    return next(s for s in _styles() if s.technique == TECHNICAL[(number - 12) % 10]).palette


# Pictures that are off style. Each takes the thing's name, the clean picture and the pack's number.


def other_hand(thing: str, _picture: np.ndarray, number: int) -> np.ndarray:
    """Drawn in another way."""
    if number < 12:
        others = [hand for hand in HANDS if hand != HANDS[number // 4]]
        return asset(thing, others[number % 2], palette=number % 3)
    return asset(thing, HANDS[number % 3])


def photo(thing: str, _picture: np.ndarray, number: int) -> np.ndarray:
    """As a photograph or a painting would look."""
    return technical(thing, "storybook" if TECHNICAL[number % 10] == "photo" else "photo")


def other_palette(_thing: str, picture: np.ndarray, number: int) -> np.ndarray:
    """Shrill: hues turned, saturation at its most."""
    hsv = np.asarray(Image.fromarray(picture[..., :3]).convert("HSV")).copy()
    hsv[..., 0] = (hsv[..., 0].astype(int) + 120 + 10 * (number % 3)) % 256
    hsv[..., 1] = np.clip(hsv[..., 1].astype(int) * 2 + 110, 0, 255)
    rgb = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))
    return np.dstack([rgb, picture[..., 3]])


def grey(_thing: str, picture: np.ndarray, _number: int) -> np.ndarray:
    """Without colour."""
    level = picture[..., :3].astype(float) @ (0.299, 0.587, 0.114)
    return np.dstack([np.round(level).astype(np.uint8)] * 3 + [picture[..., 3]])


def soft(_thing: str, picture: np.ndarray, _number: int) -> np.ndarray:
    """Smooth where the others are crisp: blurred, grained."""
    from tests.unit.planted import blur, noise

    return noise(blur(picture, 2.5), 9.0)


OFF_STYLE: dict[str, Callable[[str, np.ndarray, int], np.ndarray]] = {
    "other_hand": other_hand, "photo": photo, "other_palette": other_palette, "grey": grey,
    "soft": soft,
}  # fmt: skip


def things_of(number: int) -> tuple[str, ...]:
    """What the pack of this number shows."""
    return THINGS[number % 4]
