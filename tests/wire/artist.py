"""A generator that is not scripted: it draws what it is asked for, each subject with one bad habit.

A habit is dropped only when what is new in the prompt since its first wording speaks of it, in words
that an honest reader would look for. It gets no token, no iteration number and no score.
"""

import re
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from tests.unit import planted

SIDE_PX = 256
_KEY = re.compile(r"perfectly flat (#[0-9A-F]{6})")


def _keyed(plant: planted.Defect) -> Callable[[np.ndarray, tuple[int, int, int]], np.ndarray]:
    """A defect of the sprite itself, then painted on the flat background that was asked for."""
    return lambda sprite, key: planted.over(plant(sprite), key)


def _corners(sprite: np.ndarray, key: tuple[int, int, int]) -> np.ndarray:
    return planted.opaque_corners(planted.over(sprite, key))


def _wide(sprite: np.ndarray, key: tuple[int, int, int]) -> np.ndarray:
    """Half as wide again as it was to be."""
    side = sprite.shape[0]
    room = np.zeros((side, side // 4, 4), np.uint8)
    return planted.over(np.concatenate([room, sprite, room], axis=1), key)


HABITS: dict[str, tuple[Callable[..., np.ndarray], str]] = {
    "opaque corners": (_corners, r"corner|background|border"),
    "halo": (_keyed(planted.halo), r"halo|fringe|outline|rim\b|edges?"),
    "65 colours": (_keyed(planted.sixty_five_colours), r"colou?rs|palette"),
    "wrong size": (_wide, r"\bsize|square|proportion|resolution"),
    "blur": (_keyed(lambda p: planted.blur(p, 3.0)), r"sharp|crisp|blur|focus"),
    "noise": (_keyed(lambda p: planted.noise(p, 25.0)), r"nois|grain|speckle|clean"),
    "checkerboard": (lambda p, key: planted.checkerboard(p), r"che(ck|qu)er|background|pattern"),
    "stray pixels": (_keyed(planted.stray_pixels), r"stray|speck|dots|loose|crumbs"),
    "blank": (lambda p, key: planted.blank(p), r"blank|empty|nothing|visible|subject"),
    "cropped": (_keyed(planted.cropped), r"crop|whole|entire|room|margin|cut off"),
}
"""By defect: how it is drawn, and the words that speak of it."""


class Artist:
    """Paints for the fake Gemini: `fake.script(painter=artist)`.

    Args:
        subjects: By a part of the description: the sprite and the habit.
    """

    def __init__(self, subjects: dict[str, tuple[str, str]]) -> None:
        self._subjects = subjects
        self._first: dict[str, set[str]] = {}
        self.asked: dict[str, int] = {}

    def __call__(self, prompt: str) -> bytes:
        subject = next(words for words in self._subjects if words in prompt)
        name, habit = self._subjects[subject]
        draw, words = HABITS[habit]
        lines = [line.strip() for line in prompt.splitlines()]
        known = self._first.setdefault(subject, set(lines))
        self.asked[subject] = self.asked.get(subject, 0) + 1
        new = "\n".join(line for line in lines if line not in known)
        key = _rgb(_KEY.search(prompt))
        sprite = _sprite(name, habit)
        mended = re.search(words, new, re.IGNORECASE) is not None
        return _png(planted.over(sprite, key) if mended else draw(sprite, key))


def _sprite(name: str, habit: str) -> np.ndarray:
    if habit == "65 colours":
        return planted.pixel_sprite(name, cell_px=SIDE_PX // 32)
    return planted.sprite(name, size_px=SIDE_PX, outline=1.2)


def _rgb(found: re.Match[str] | None) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(found[1][1:]) if found else (255, 255, 255)
    return red, green, blue


def _png(picture: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(picture).convert("RGB").save(file, "PNG")
    return file.getvalue()
