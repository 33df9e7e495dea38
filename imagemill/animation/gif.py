"""The preview of an animation: a GIF with transparency, all frames in one palette."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from imagemill.animation.sheet import FRAME_MS
from imagemill.errors import RequestError
from imagemill.quality.check import Picture
from imagemill.quality.colour import visible

_CLEAR = 255
"""Index of the transparent colour."""


def gif_preview(
    frames: Sequence[Picture], *, durations_ms: int | Sequence[int] = FRAME_MS, side_px: int = 512
) -> bytes:
    """Return the frames as an endless GIF.

    GIF knows no half transparency: pixels less than half opaque vanish, the rest is solid. One
    palette of 255 colours serves all frames, so that nothing flickers.

    Args:
        frames: H x W x 4 each, all of one size.
        durations_ms: Of every frame, or of each; GIF counts in hundredths of a second.
        side_px: Larger frames are reduced to this longest side.

    Raises:
        RequestError: no frames, or of different sizes.
    """
    if len({frame.shape for frame in frames}) != 1:
        raise RequestError(
            "A GIF needs frames of one size, at least one.", remedy="Fit all frames to one size."
        )
    small = [_reduced(frame, side_px) for frame in frames]
    palette = _palette(small)
    pictures = [_paletted(frame, palette) for frame in small]
    out = BytesIO()
    pictures[0].save(
        out, "GIF", save_all=True, append_images=pictures[1:], loop=0, disposal=2,
        transparency=_CLEAR, optimize=False,
        duration=durations_ms if isinstance(durations_ms, int) else list(durations_ms),
    )  # fmt: skip
    return out.getvalue()


def _reduced(frame: Picture, side_px: int) -> Picture:
    image = Image.fromarray(frame)
    if max(image.size) <= side_px:
        return frame
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _palette(frames: Sequence[Picture]) -> Image.Image:
    """Return an image whose palette has the 255 colours that suit the visible pixels of all."""
    seen = np.concatenate([frame[visible(frame)][:, :3] for frame in frames])
    if not len(seen):
        seen = np.zeros((1, 3), np.uint8)
    strip = Image.fromarray(np.ascontiguousarray(seen[None, :: max(1, len(seen) // 200_000)]))
    return strip.quantize(_CLEAR, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _paletted(frame: Picture, palette: Image.Image) -> Image.Image:
    flat = Image.fromarray(np.ascontiguousarray(frame[..., :3]))
    picture = flat.quantize(palette=palette, dither=Image.Dither.NONE)
    index = np.asarray(picture).copy()
    index[~visible(frame)] = _CLEAR
    result = Image.fromarray(index)
    colours = (palette.getpalette() or [])[: 3 * _CLEAR]
    result.putpalette([*colours, *[0] * (768 - len(colours))])
    return result
