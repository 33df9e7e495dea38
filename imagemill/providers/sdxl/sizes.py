"""Sides of a picture, by size name and aspect ratio."""

import math

RATIOS_1K: dict[str, tuple[int, int]] = {
    "1:1": (1024, 1024),
    "4:3": (1152, 896), "3:4": (896, 1152),
    "3:2": (1216, 832), "2:3": (832, 1216),
    "5:4": (1152, 896), "4:5": (896, 1152),
    "16:9": (1344, 768), "9:16": (768, 1344),
    "21:9": (1536, 640),
}  # fmt: skip
"""Width, height in pixels: the nearest of the sizes SDXL was trained on (appendix I of its report,
arXiv 2307.01952); others give doubled heads and cut subjects."""

SIDES_PX = {"256": 256, "512": 512, "1K": 1024}


def pixel_size(size: str, aspect_ratio: str, *, native_px: int = 1024) -> tuple[int, int]:
    """Return width and height in pixels; smaller sizes have the shape of 1K, in multiples of 8.

    Args:
        size: A key of `SIDES_PX`.
        aspect_ratio: A key of `RATIOS_1K`.
        native_px: What 1K is for this checkpoint.
    """
    width, height = RATIOS_1K[aspect_ratio]
    scale = SIDES_PX[size] / 1024 * native_px / 1024
    return max(8, math.floor(width * scale / 8) * 8), max(8, math.floor(height * scale / 8) * 8)
