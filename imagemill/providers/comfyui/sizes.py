"""Sides of a picture, by size name and aspect ratio, around the size a workflow is made for."""

import math

RATIOS: dict[str, tuple[int, int]] = {
    "1:1": (1024, 1024),
    "4:3": (1152, 896), "3:4": (896, 1152),
    "3:2": (1216, 832), "2:3": (832, 1216),
    "5:4": (1152, 896), "4:5": (896, 1152),
    "16:9": (1344, 768), "9:16": (768, 1344),
    "21:9": (1536, 640),
}  # fmt: skip
"""Width, height in pixels at 1K: the nearest of the sizes SDXL was trained on (appendix I of its
report, arXiv 2307.01952); other diffusion models are content with the same shapes."""

SIDES_PX = {"256": 256, "512": 512, "1K": 1024, "2K": 2048}

SAME_SHAPE = 0.04
"""Farthest that a size of `RATIOS` is from its ratio; different ratios lie farther apart."""

STEP_PX = 8
"""Latents are an eighth of the picture, so its sides are multiples of 8."""


def native_size(width_px: int, height_px: int) -> str:
    """Return the size name that is nearest to a workflow's own size: its default and its largest."""
    side = math.sqrt(max(1, width_px * height_px))
    return min(SIDES_PX, key=lambda name: abs(math.log(SIDES_PX[name] / side)))


def sizes_for(native: str) -> tuple[str, ...]:
    """Return the names up to a workflow's own: beyond it diffusion models draw doubled heads."""
    return tuple(name for name, side in SIDES_PX.items() if side <= SIDES_PX[native])


def pixel_size(size: str, aspect_ratio: str, *, own: tuple[int, int]) -> tuple[int, int]:
    """Return width and height in pixels.

    Args:
        size: One of `sizes_for` the native name.
        aspect_ratio: A key of `RATIOS`.
        own: Width and height the workflow was exported with; taken as they are where they fit.
    """
    native = native_size(*own)
    across, down = (int(part) for part in aspect_ratio.split(":"))
    if size == native and abs(own[0] / own[1] * down / across - 1) < SAME_SHAPE:
        return own
    width, height = RATIOS[aspect_ratio]
    scale = math.sqrt(own[0] * own[1]) / 1024 * SIDES_PX[size] / SIDES_PX[native]
    return _stepped(width * scale), _stepped(height * scale)


def _stepped(side: float) -> int:
    return max(STEP_PX, math.floor(side / STEP_PX + 1e-6) * STEP_PX)
