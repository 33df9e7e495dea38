"""What is tried when a bucket does not fit into GPU memory: half of it, down to one image in tiles."""

from collections.abc import Sequence
from dataclasses import replace

from imagemill.errors import ProviderError
from imagemill.providers.sdxl.frame import Bench, Frame

Rung = tuple[int, list[Frame], Bench]
"""Where its first frame stood, the frames, and how they are drawn."""


def smaller(frames: Sequence[Frame], bench: Bench) -> list[Rung] | None:
    """Return the next rung of the ladder: half the bucket, then tiles; None below that.

    The key of an image names the bucket that was meant; what it was drawn in is noted in its facts.
    """
    bucket = frames[0].group.bucket
    if bucket == 1:
        tiled = [frame.with_facts(tiled=1) for frame in frames]
        return None if bench.tiled else [(0, tiled, replace(bench, tiled=True))]
    half = bucket // 2
    group = frames[0].group._replace(bucket=half)
    taken = [replace(frame.with_facts(bucket_drawn=half), group=group) for frame in frames]
    return [(first, taken[first : first + half], bench) for first in range(0, len(taken), half)]


def too_large(frame: Frame) -> ProviderError:
    """Return what is said of an image that does not fit even alone."""
    return ProviderError(
        f"{frame.width_px} x {frame.height_px} px do not fit into this GPU's memory, even alone.",
        remedy="Choose a smaller size, free the GPU, or leave the ControlNet out.",
    )
