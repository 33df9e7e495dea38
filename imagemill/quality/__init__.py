"""Technical checks: what pixels alone can tell about an asset. Numpy and Pillow, no model.

Each check takes a decoded picture (H x W x 4 uint8, straight alpha) and returns a `Check` with what
was measured, what is allowed and what to do. None of them knows what the picture shows.
"""

from imagemill.quality.check import Check, CheckSpec, Picture
from imagemill.quality.duplicates import distance, duplicate, fingerprint
from imagemill.quality.grid import PixelGrid, cells, find_grid, snap_to_grid
from imagemill.quality.palette import snap_to_palette
from imagemill.quality.technical import technical_checks

__all__ = [
    "Check",
    "CheckSpec",
    "Picture",
    "PixelGrid",
    "cells",
    "distance",
    "duplicate",
    "find_grid",
    "fingerprint",
    "snap_to_grid",
    "snap_to_palette",
    "technical_checks",
]
