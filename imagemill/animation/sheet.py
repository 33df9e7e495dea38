"""The sprite sheet: all frames in one PNG, and the JSON that tells an engine where each is.

The JSON is the "JSON Hash" that Aseprite and TexturePacker export and Phaser, Pixi, Godot and Unity
importers read: `frames` by file name, `meta` with `frameTags`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil, sqrt
from typing import Any, Literal

import numpy as np
from PIL import Image

from imagemill.errors import RequestError
from imagemill.quality.check import Picture

MAX_SIDE_PX = 16_384
"""Largest texture of desktop GPUs (WebGL `MAX_TEXTURE_SIZE`); phones stop at 4096."""
PADDING_PX = 2
"""Between frames, transparent: bilinear filtering reaches half a pixel, mip maps a little more."""
FRAME_MS = 100
"""Aseprite's default."""


@dataclass(frozen=True, slots=True)
class FrameTag:
    """A named stretch of frames: `first` and `last` count from 0, both inside."""

    name: str
    first: int
    last: int
    direction: Literal["forward", "reverse", "pingpong"] = "forward"


@dataclass(frozen=True, slots=True)
class SpriteSheet:
    """The sheet as PNG bytes, and the atlas that belongs to it."""

    png: bytes
    atlas: dict[str, Any]

    @property
    def atlas_json(self) -> bytes:
        """The atlas as it is written to a file, UTF-8."""
        return (json.dumps(self.atlas, ensure_ascii=False, indent=1) + "\n").encode()


def sprite_sheet(
    frames: Sequence[Picture],
    *,
    name: str,
    durations_ms: int | Sequence[int] = FRAME_MS,
    tags: Sequence[FrameTag] = (),
    padding_px: int = PADDING_PX,
    columns: int | None = None,
) -> SpriteSheet:
    """Return the frames on one sheet, left to right and top to bottom.

    Args:
        frames: H x W x 4 each, all of one size; never trimmed, so that feet stay on the ground.
        name: Of the animation: frames are called `name 0.png` and so on, the sheet `name.png`.
        durations_ms: Of every frame, or of each.
        tags: Default: one tag over all frames, called `name`.
        padding_px: Transparent pixels between frames.
        columns: Default: what makes the sheet about square.

    Raises:
        RequestError: no frames, different sizes, as many durations as there are not frames, or a
            sheet larger than any texture.
    """
    height, width = _one_size(frames)
    across = columns or _columns(len(frames), width, height)
    rows = ceil(len(frames) / across)
    sheet_size = (
        across * width + (across - 1) * padding_px,
        rows * height + (rows - 1) * padding_px,
    )
    if max(sheet_size) > MAX_SIDE_PX:
        raise RequestError(
            f"The sheet would be {sheet_size[0]} x {sheet_size[1]} px; textures end at "
            f"{MAX_SIDE_PX}.",
            remedy="Ask for smaller or fewer frames.",
        )
    times = _durations(durations_ms, len(frames))
    sheet = np.zeros((sheet_size[1], sheet_size[0], 4), np.uint8)
    entries = {}
    for index, frame in enumerate(frames):
        row, column = divmod(index, across)
        x, y = column * (width + padding_px), row * (height + padding_px)
        sheet[y : y + height, x : x + width] = frame
        entries[f"{name} {index}.png"] = _entry((x, y, width, height), times[index])
    shown = tags or (FrameTag(name, 0, len(frames) - 1),)
    return SpriteSheet(_png(sheet), {"frames": entries, "meta": _meta(name, sheet_size, shown)})


def _entry(box: tuple[int, int, int, int], duration_ms: int) -> dict[str, Any]:
    x, y, width, height = box
    return {
        "frame": {"x": x, "y": y, "w": width, "h": height},
        "rotated": False,
        "trimmed": False,
        "spriteSourceSize": {"x": 0, "y": 0, "w": width, "h": height},
        "sourceSize": {"w": width, "h": height},
        "duration": duration_ms,
    }


def _meta(name: str, size: tuple[int, int], tags: Sequence[FrameTag]) -> dict[str, Any]:
    return {
        "app": "imagemill",
        "version": "1.0",
        "image": f"{name}.png",
        "format": "RGBA8888",
        "size": {"w": size[0], "h": size[1]},
        "scale": "1",
        "frameTags": [
            {"name": tag.name, "from": tag.first, "to": tag.last, "direction": tag.direction}
            for tag in tags
        ],
    }


def _one_size(frames: Sequence[Picture]) -> tuple[int, int]:
    sizes = {frame.shape[:2] for frame in frames}
    if len(sizes) != 1:
        found = ", ".join(sorted(f"{width} x {height}" for height, width in sizes))
        raise RequestError(
            f"A sheet needs frames of one size; got {found}." if sizes else "There are no frames.",
            remedy="Fit all frames to one size." if sizes else "Make a frame first.",
        )
    height, width = sizes.pop()
    return int(height), int(width)


def _columns(number: int, width: int, height: int) -> int:
    """Return the columns of the squarest sheet, among equals the one with the fewest gaps."""
    wished = max(1, ceil(sqrt(number * height / width)))
    around = range(max(1, wished - 1), min(number, wished + 2) + 1)
    return min(around, key=lambda c: (-number % c, abs(c - wished), -c))


def _durations(durations_ms: int | Sequence[int], number: int) -> list[int]:
    times = [durations_ms] * number if isinstance(durations_ms, int) else list(durations_ms)
    if len(times) != number or min(times) < 1:
        raise RequestError(
            f"{number} frames need {number} durations of at least 1 ms; got {len(times)}.",
            remedy="Give one number for all, or one for each frame.",
        )
    return times


def _png(sheet: Picture) -> bytes:
    out = BytesIO()
    Image.fromarray(sheet).save(out, "PNG", compress_level=6)
    return out.getvalue()
