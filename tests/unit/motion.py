"""Animations with known truth: a drawing that moves as game figures do, and frames that do not belong.

Every set is made from a drawing of the sketch vocabulary; nothing is read and nothing is scripted.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from imagemill.providers.sketch.geometry import extent, turned
from imagemill.providers.sketch.scene import Patch, placed
from tests.unit.planted import INK, OVERSAMPLE, _reduced, blur, over

TUNED_ON = ("fox", "cat", "robot", "knight", "wizard", "penguin", "owl", "dragon", "ghost", "bear",
            "ninja", "king", "rabbit", "frog", "chicken", "astronaut", "duck", "monkey", "panda",
            "snowman", "crab", "turtle", "child", "koala")  # fmt: skip
"""Looked at while the floors of `drift.FLOORS` were chosen, in all four motions."""
FIGURES = ("lion", "dog", "wolf", "tiger", "elephant", "giraffe", "horse", "cow", "pig", "sheep",
           "mouse", "squirrel", "deer", "octopus", "snail", "bird", "flamingo", "parrot", "bee",
           "ladybug", "bat", "person", "woman", "dancer")  # fmt: skip
"""Not looked at before the floors were fixed."""
FRAMES = 8

Points = np.ndarray
Move = Callable[[list[Patch], float], list[Patch]]


def bob(patches: list[Patch], phase: float) -> list[Patch]:
    """Up and down by 4 %, as in a walk."""
    return _moved(patches, lambda p: p - np.array([0, 4 * abs(np.sin(phase))]))


def squash(patches: list[Patch], phase: float) -> list[Patch]:
    """Lower and wider by 14 %, then taller and slimmer, on the same foot: a jump."""
    tall = 1 + 0.14 * np.sin(phase)
    return _moved(patches, lambda p: (p - (50, 100)) * (1 / tall, tall) + (50, 100))


def swing(patches: list[Patch], phase: float) -> list[Patch]:
    """What hangs at the sides turns by 28 degrees around its upper inner end; the body leans."""
    moved = []
    for patch in patches:
        left, top, right, bottom = extent(patch.points)
        middle = (left + right) / 2
        if abs(middle - 50) > 12 and right - left < 34:
            pivot = np.array([right if middle < 50 else left, top + 0.2 * (bottom - top)])
            turn = 28 * np.sin(phase) * (1 if middle < 50 else -1)
            patch = replace(patch, points=turned(patch.points - pivot, turn) + pivot)
        moved.append(patch)
    foot = np.array([50, 100])
    return _moved(moved, lambda p: turned(p - foot, 5 * np.sin(phase)) + foot)


def turn(patches: list[Patch], phase: float) -> list[Patch]:
    """Turning to the other side: slimmer in the middle of the turn, then mirrored."""
    slim = np.cos(phase / 2) or 1e-3
    slim = np.sign(slim) * max(0.62, abs(slim))
    return _moved(patches, lambda p: (p - (50, 0)) * (slim, 1) + (50, 0))


MOVES: dict[str, Move] = {"bob": bob, "squash": squash, "swing": swing, "turn": turn}


def _moved(patches: list[Patch], change: Callable[[Points], Points]) -> list[Patch]:
    return [replace(patch, points=change(patch.points)) for patch in patches]


def frame(patches: list[Patch], *, fit: float, size_px: int, outline: float) -> np.ndarray:
    """Patches on transparency: foot at 90 % of the height, `fit` pixels to the unit."""
    big = Image.new("RGBA", (size_px * OVERSAMPLE,) * 2)
    pen, k = ImageDraw.Draw(big), fit * OVERSAMPLE
    at = np.array([size_px * OVERSAMPLE / 2, 0.9 * size_px * OVERSAMPLE])
    rings = [(patch.points - (50, 100)) * k + at for patch in patches]
    width = round(outline * size_px * OVERSAMPLE / 100)
    for ring in rings if width else ():
        corners = [tuple(xy) for xy in ring]
        pen.line([*corners, *corners[:2]], fill=(*INK, 255), width=2 * width, joint="curve")
    for patch, ring in zip(patches, rings, strict=True):
        pen.polygon([tuple(xy) for xy in ring], fill=(*patch.colour, 255))
    return _reduced(np.asarray(big, np.float64))


def animation(
    name: str, move: str, *, size_px: int = 128, seed: int = 0, outline: float = 0.0
) -> list[np.ndarray]:  # fmt: skip
    """Eight frames of a figure in motion; each redrawn a little differently, as a model would.

    The hand's unsteadiness: every frame is 3 % larger or smaller, 2 % off and 3 levels lighter or
    darker, all by chance of `seed`.
    """
    rng = np.random.default_rng(seed)
    patches = placed(name, (50, 100), 1.0)
    boxes = np.array([extent(patch.points) for patch in patches])
    tall = boxes[:, 3].max() - boxes[:, 1].min()
    wide = boxes[:, 2].max() - boxes[:, 0].min()
    fit = 0.66 * size_px / max(tall, wide)
    frames = []
    for index in range(FRAMES):
        moved = MOVES[move](patches, 2 * np.pi * index / FRAMES)
        off = rng.uniform(-2, 2, 2)
        moved = _moved(moved, lambda p, off=off: p + off)
        picture = frame(moved, fit=fit * rng.uniform(0.97, 1.03), size_px=size_px, outline=outline)
        light = rng.uniform(-3, 3)
        colour = np.clip(picture[..., :3] + light, 0, 255).astype(np.uint8)
        frames.append(np.dstack([colour, picture[..., 3]]))
    return frames


# Frames that do not belong. Each takes the frame it stands for and a number for its chance.


def other_colours(picture: np.ndarray, number: int) -> np.ndarray:
    """The same figure in another palette: hues turned by a quarter to a half."""
    hsv = np.asarray(Image.fromarray(picture[..., :3]).convert("HSV")).copy()
    hsv[..., 0] = (hsv[..., 0].astype(int) + 64 + 24 * (number % 4)) % 256
    hsv[..., 1] = np.clip(hsv[..., 1].astype(int) + 40, 0, 255)
    rgb = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))
    return np.dstack([rgb, picture[..., 3]])


def washed_out(picture: np.ndarray, _number: int) -> np.ndarray:
    """Half the contrast, half the saturation, lighter."""
    grey = picture[..., :3].mean(axis=-1, keepdims=True)
    rgb = 0.45 * (0.4 * picture[..., :3] + 0.6 * grey) + 130
    return np.dstack([np.clip(rgb, 0, 255).astype(np.uint8), picture[..., 3]])


def smaller(picture: np.ndarray, number: int) -> np.ndarray:
    """The figure at 60 to 66 % of its size, on the same ground."""
    return _scaled(picture, 0.6 + 0.02 * (number % 4))


def larger(picture: np.ndarray, _number: int) -> np.ndarray:
    """The figure at 140 %: it fills the picture."""
    return _scaled(picture, 1.4)


def _scaled(picture: np.ndarray, factor: float) -> np.ndarray:
    side = picture.shape[0]
    small = Image.fromarray(picture).resize((round(side * factor),) * 2, Image.Resampling.LANCZOS)
    out = Image.new("RGBA", (side, side))
    x, y = side / 2 - small.width / 2, 0.9 * (side - small.height)
    out.paste(small, (round(x), round(y)))
    return np.asarray(out)


def elsewhere(picture: np.ndarray, number: int) -> np.ndarray:
    """A quarter of the picture to a side or up."""
    step = picture.shape[0] // 4
    shift = ((0, step), (0, -step), (-step, 0))[number % 3]
    return np.roll(picture, shift, axis=(0, 1))


def uncut(picture: np.ndarray, _number: int) -> np.ndarray:
    """The background was left in."""
    return over(picture, (206, 214, 226))


def out_of_focus(picture: np.ndarray, _number: int) -> np.ndarray:
    """Blurred."""
    return blur(picture, 3.5)


def nothing(picture: np.ndarray, _number: int) -> np.ndarray:
    """Nothing is to be seen."""
    return np.zeros_like(picture)


STRANGE: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "other_colours": other_colours, "washed_out": washed_out, "smaller": smaller, "larger": larger,
    "elsewhere": elsewhere, "uncut": uncut, "out_of_focus": out_of_focus, "nothing": nothing,
}  # fmt: skip
