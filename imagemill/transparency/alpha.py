"""Small repairs of the alpha channel, and the preview on white."""

import numpy as np

from imagemill.quality.check import Picture
from imagemill.quality.colour import on_ground

CLEAN_BELOW = 10
"""Alpha below this becomes 0 (the document, 5.2 `clean_alpha_channel`)."""


def clean_alpha(picture: Picture, *, below: int = CLEAN_BELOW) -> Picture:
    """Return the picture with nearly invisible pixels wholly transparent and without colour."""
    out = picture.copy()
    out[out[..., 3] < below] = 0
    return out


def on_white(picture: Picture) -> Picture:
    """Return the picture on white, H x W x 4 with alpha 255: the document's preview."""
    out = np.full_like(picture, 255)
    out[..., :3] = np.round(on_ground(picture, 255.0)).astype(np.uint8)
    return out
