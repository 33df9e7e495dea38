"""Animation: whether frames belong together, and the files that a game takes them from.

Numpy and Pillow, no model. A frame is a picture, H x W x 4 uint8, straight alpha. Nothing here knows
what the frames show; the first is the one that the others were drawn after.
"""

from imagemill.animation.drift import Drift, medoid, outliers, worst_drift
from imagemill.animation.gif import gif_preview
from imagemill.animation.sheet import FrameTag, SpriteSheet, sprite_sheet

__all__ = [
    "Drift",
    "FrameTag",
    "SpriteSheet",
    "gif_preview",
    "medoid",
    "outliers",
    "sprite_sheet",
    "worst_drift",
]
