"""Sprites and defects made by code, so that the truth about each pixel is known.

Sprites are drawings of the sketch provider's vocabulary; backdrops are painted under them.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from imagemill.prompt import Style
from imagemill.providers.sketch.geometry import extent
from imagemill.providers.sketch.provider import draw
from imagemill.providers.sketch.scene import placed
from tests.builders import image_request

OVERSAMPLE = 4
INK = (42, 38, 49)


def sprite(name: str, *, size_px: int = 256, outline: float = 0.0) -> np.ndarray:
    """A drawing of the vocabulary: H x W x 4, exact straight alpha, 12 % of room on each side.

    `outline` is the width of a dark contour in units of 1/100 of the side.
    """
    patches = placed(name, (50, 100), 1.0)
    boxes = np.array([extent(p.points) for p in patches])
    left, top, right, bottom = (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0))
    k = size_px * OVERSAMPLE * 0.76 / max(right - left, bottom - top)
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    big = Image.new("RGBA", (size_px * OVERSAMPLE,) * 2)
    pen = ImageDraw.Draw(big)
    outlines = [(p.points - middle) * k + size_px * OVERSAMPLE / 2 for p in patches]
    width = round(outline * size_px * OVERSAMPLE / 100)
    for points in outlines if width else ():
        corners = [tuple(xy) for xy in points]
        pen.polygon(corners, fill=(*INK, 255))
        pen.line([*corners, *corners[:2]], fill=(*INK, 255), width=2 * width, joint="curve")
    for patch, points in zip(patches, outlines, strict=True):
        pen.polygon([tuple(xy) for xy in points], fill=(*patch.colour, 255))
    return _reduced(np.asarray(big, np.float64))


def _reduced(big: np.ndarray) -> np.ndarray:
    """Average OVERSAMPLE x OVERSAMPLE pixels with premultiplied alpha."""
    k, side = OVERSAMPLE, big.shape[0] // OVERSAMPLE
    blocks = big.reshape(side, k, side, k, 4)
    alpha = blocks[..., 3].mean(axis=(1, 3))
    colour = (blocks[..., :3] * blocks[..., 3:] / 255).mean(axis=(1, 3))
    straight = np.divide(colour * 255, alpha[..., None], where=alpha[..., None] > 0,
                         out=np.zeros_like(colour))  # fmt: skip
    return np.round(np.dstack([straight, alpha])).clip(0, 255).astype(np.uint8)


def pixel_sprite(name: str, *, cells: int = 32, cell_px: int = 8, colours: int = 16) -> np.ndarray:
    """True pixel art: hard alpha, few colours, squares of `cell_px`."""
    small = sprite(name, size_px=cells, outline=2.0)
    few = Image.fromarray(small[..., :3]).quantize(colours, dither=Image.Dither.NONE).convert("RGB")
    hard = np.dstack([np.asarray(few), np.where(small[..., 3] >= 128, 255, 0).astype(np.uint8)])
    hard[hard[..., 3] == 0] = 0
    return hard.repeat(cell_px, axis=0).repeat(cell_px, axis=1)


def over(picture: np.ndarray, ground: np.ndarray | tuple[int, int, int]) -> np.ndarray:
    """The sprite painted on a ground, opaque."""
    alpha = picture[..., 3:] / 255.0
    mixed = picture[..., :3] * alpha + np.asarray(ground, float)[..., :3] * (1 - alpha)
    return _opaque(mixed)


def _opaque(rgb: np.ndarray) -> np.ndarray:
    alpha = np.full((*rgb.shape[:2], 1), 255.0)
    return np.round(np.concatenate([rgb, alpha], axis=-1)).clip(0, 255).astype(np.uint8)


# Defects: each takes a clean sprite and plants one.


def opaque_corners(picture: np.ndarray) -> np.ndarray:
    """White squares left in the four corners."""
    out, n = picture.copy(), picture.shape[0] // 8
    for y in (slice(0, n), slice(-n, None)):
        for x in (slice(0, n), slice(-n, None)):
            out[y, x] = 255
    return out


def halo(picture: np.ndarray, colour: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    """The alpha is right and the edge pixels still hold the old background's colour."""
    return np.dstack([over(picture, colour)[..., :3], picture[..., 3]])


def dark_halo(picture: np.ndarray) -> np.ndarray:
    """Premultiplied colour stored as straight: edges go black."""
    return halo(picture, (0, 0, 0))


def sixty_five_colours(picture: np.ndarray) -> np.ndarray:
    """Exactly 65 colours, barely different to the eye."""
    out, rng = picture.copy(), np.random.default_rng(5)
    y, x = np.nonzero(out[..., 3])
    spots = rng.permutation(len(y))
    for i in range(len(spots)):
        if len(np.unique(out[out[..., 3] > 0][:, :3], axis=0)) >= 65:
            break
        at = y[spots[i]], x[spots[i]]
        out[at][:3] = (*(out[at][:2]), i % 256) if i % 2 else (i % 256, *out[at][1:3])
    return out


def wrong_size(picture: np.ndarray) -> np.ndarray:
    """Four columns short."""
    return picture[:, 2:-2]


def blur(picture: np.ndarray, radius: float = 2.0) -> np.ndarray:
    """Colour and alpha out of focus."""
    alpha = picture[..., 3:].astype(float)
    filled = np.concatenate([picture[..., :3] * alpha / 255, alpha], axis=-1)
    planes = np.round(filled).astype(np.uint8)
    soft = np.asarray(Image.fromarray(planes).filter(ImageFilter.GaussianBlur(radius)), float)
    colour = np.divide(soft[..., :3] * 255, soft[..., 3:], where=soft[..., 3:] > 0,
                       out=np.zeros_like(soft[..., :3]))  # fmt: skip
    return np.round(np.dstack([colour, soft[..., 3]])).clip(0, 255).astype(np.uint8)


def blur_inside(picture: np.ndarray) -> np.ndarray:
    """A blurred drawing that was cut out crisply."""
    soft = blur(over(picture, (128, 128, 128)), 3.0)
    return np.dstack([soft[..., :3], picture[..., 3]])


def noise(picture: np.ndarray, sigma: float = 15.0) -> np.ndarray:
    """Grain on the subject; alpha untouched."""
    grain = np.random.default_rng(1).normal(0, sigma, (*picture.shape[:2], 3))
    return np.dstack([(picture[..., :3] + grain).clip(0, 255).astype(np.uint8), picture[..., 3]])


def checkerboard(picture: np.ndarray, cell_px: int = 16) -> np.ndarray:
    """The sign for transparency, painted."""
    y, x = np.indices(picture.shape[:2]) // cell_px
    return over(picture, np.where(((y + x) % 2)[..., None], 255.0, 204.0).repeat(3, axis=-1))


def stray_pixels(picture: np.ndarray) -> np.ndarray:
    """Six specks near the border, some faint."""
    out, rng, n = picture.copy(), np.random.default_rng(2), picture.shape[0]
    for i in range(6):
        y, x = int(rng.integers(2, n // 25)), int(rng.integers(2, n - 4))
        out[y : y + 1 + i % 2, x : x + 1 + i % 2] = (90, 90, 90, 255 if i % 2 else 60)
    return out


def blank(picture: np.ndarray) -> np.ndarray:
    """One grey, opaque."""
    return _opaque(np.full((*picture.shape[:2], 3), 235.0))


def empty(picture: np.ndarray) -> np.ndarray:
    """Nothing at all."""
    return np.zeros_like(picture)


def cropped(picture: np.ndarray) -> np.ndarray:
    """The lower third of the subject lies outside of the picture."""
    rows = np.flatnonzero(picture[..., 3].any(axis=1))
    shift = picture.shape[0] - rows[-1] + (rows[-1] - rows[0]) // 3
    out = np.zeros_like(picture)
    out[shift:] = picture[:-shift]
    return out


def opaque(picture: np.ndarray) -> np.ndarray:
    """No alpha: a flat grey ground."""
    return over(picture, (190, 190, 190))


Defect = Callable[[np.ndarray], np.ndarray]

# Backdrops for cut-outs.

PLAIN = ((255, 255, 255), (240, 240, 240), (128, 128, 128), (0, 177, 64), (200, 220, 245),
         (250, 240, 220), (30, 30, 36), (255, 0, 255), (215, 235, 215), (245, 205, 205))  # fmt: skip
PLACES = ("a forest", "a city street", "a beach at sunset", "mountains", "a desert", "the sea",
          "a kitchen", "a garden with flowers", "a snowy village", "space with planets")  # fmt: skip


def on_plain(picture: np.ndarray, index: int) -> np.ndarray:
    """One colour, with the little noise that JPEG leaves."""
    return _grained(over(picture, PLAIN[index % len(PLAIN)]), index)


def on_gradient(picture: np.ndarray, index: int) -> np.ndarray:
    """Two colours, from top to bottom, side to side or from the middle outwards."""
    return _grained(over(picture, gradient(picture.shape[0], index)), index)


def gradient(side: int, index: int) -> np.ndarray:
    """Side x side x 3."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    share = (y, x, np.hypot(x - 0.5, y - 0.5) * 1.4)[index % 3][..., None]
    one = np.array(PLAIN[index % len(PLAIN)], float)
    other = np.clip(one * 0.7 + np.array([20, 30, 60]), 0, 255)
    return one * (1 - share) + other * share


def on_shadow(picture: np.ndarray, index: int) -> np.ndarray:
    """One colour and a soft drop shadow, which is not part of the truth."""
    side = picture.shape[0]
    shift, soft = side // 28 + index % 3, side / (40 - index % 3 * 8)
    dark = Image.fromarray(np.roll(picture[..., 3], (shift, shift), axis=(0, 1)))
    shadow = np.asarray(dark.filter(ImageFilter.GaussianBlur(soft)), float)[..., None] / 255
    ground = np.array(PLAIN[:6][index % 6], float) * (1 - 0.45 * shadow)
    return _grained(over(picture, ground), index)


def on_scene(picture: np.ndarray, index: int) -> np.ndarray:
    """A busy picture of a place."""
    words = PLACES[index % len(PLACES)]
    style = Style(name="plain", description="", technique="flat", template="{prompt}")
    data = draw(image_request(prompt=words, subject=words, size="512", seed=index), style)
    place = Image.open(BytesIO(data)).resize(picture.shape[1::-1], Image.Resampling.LANCZOS)
    return _grained(over(picture, np.asarray(place.convert("RGB"), float)), index)


def _grained(picture: np.ndarray, index: int) -> np.ndarray:
    grain = np.random.default_rng(index).normal(0, 1.0, (*picture.shape[:2], 3))
    return _opaque(picture[..., :3] + grain)


BACKDROPS = {"plain": on_plain, "gradient": on_gradient, "shadow": on_shadow, "scene": on_scene}

NAMES = ("fox", "flamingo", "car", "cat", "robot", "knight", "rocket", "mushroom", "apple", "key",
         "owl", "dragon", "potion", "house", "penguin", "cactus", "sword", "ghost", "tree", "crab",
         "lighthouse", "bicycle", "donut", "wizard", "chest", "turtle", "balloon", "guitar", "panda",
         "airplane", "crown", "rose", "ufo", "bear", "trophy", "gift", "pirate_ship", "candle",
         "butterfly", "camera")  # fmt: skip
"""Forty sprites. Fox, flamingo, car and ghost were among those looked at while the flood was tuned."""


def on_backdrop(kind: str, index: int, *, size_px: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and picture: sprite `index` of a kind, each kind with ten sprites of its own."""
    first = 10 * list(BACKDROPS).index(kind)
    truth = sprite(NAMES[(first + index) % 40], size_px=size_px, outline=index % 2 * 1.2)
    return truth, BACKDROPS[kind](truth, index)


def iou(cut: np.ndarray, truth: np.ndarray) -> float:
    """Shared share of the pixels that are more than half opaque in either, 0 to 1."""
    one, other = cut[..., 3] >= 128, truth[..., 3] >= 128
    return float((one & other).sum() / max(1, (one | other).sum()))
