"""Colour of pixels: luma, CIE Lab, palettes, and the picture on a plain ground."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imagemill.quality.check import OPAQUE, Mask, Picture

Plane = NDArray[np.float32]
"""H x W float32."""

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375],
     [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]], np.float32,
)  # fmt: skip
"""Linear sRGB to XYZ, white D65 (IEC 61966-2-1)."""
_WHITE = np.array([0.95047, 1.0, 1.08883], np.float32)
_LINEAR = np.where(
    np.arange(256) <= 10,
    np.arange(256) / 255 / 12.92,
    ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4,
).astype(np.float32)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Rec. 601, as Pillow's `convert("L")`, which the document uses."""


def luma(rgb: NDArray[np.generic]) -> Plane:
    """Return brightness, 0 to 255, of ... x 3 or more channels; further channels are ignored."""
    result: Plane = rgb[..., :3].astype(np.float32) @ _LUMA
    return result


def lab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return CIE L*a*b* (L 0 to 100, D65) of ... x 3 sRGB."""
    xyz = (_LINEAR[rgb[..., :3]] @ _TO_XYZ.T) / _WHITE
    bent = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = bent[..., 0], bent[..., 1], bent[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def visible(picture: Picture) -> Mask:
    """Return the pixels that are more than half opaque: the subject."""
    result: Mask = picture[..., 3] >= OPAQUE
    return result


def on_ground(picture: Picture, level: float) -> NDArray[np.float32]:
    """Return the picture, H x W x 3 float32, over a grey of `level`."""
    alpha = picture[..., 3:].astype(np.float32) / 255
    seen = picture[..., :3] * alpha + np.float32(level) * (1 - alpha)
    return seen.astype(np.float32)


def contrasting_ground(picture: Picture) -> float:
    """Return 0 or 255, whichever is farther from the subject's brightness; 0 without a subject."""
    subject = visible(picture)
    return 255.0 if subject.any() and luma(picture)[subject].mean() < 127.5 else 0.0


def parse_palette(palette: Sequence[str]) -> NDArray[np.uint8]:
    """Return `#rrggbb` colours as N x 3."""
    return np.array([list(bytes.fromhex(text.lstrip("#"))) for text in palette], np.uint8)


def colours_of(picture: Picture) -> NDArray[np.uint8]:
    """Return the different colours of pixels that are not wholly transparent, N x 3, sorted."""
    seen = picture[picture[..., 3] > 0][:, :3].astype(np.uint32)
    packed = np.unique(seen[:, 0] << 16 | seen[:, 1] << 8 | seen[:, 2])
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)
