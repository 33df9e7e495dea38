"""Small copies of pictures, made while the next one is waited for, so that the end is quick.

A contact sheet of 200 full pictures would decode for ten seconds after the last image; made at the
time each image comes, the previews cost nobody anything.
"""

from contextlib import suppress
from pathlib import Path

from PIL import Image

PREVIEW_PX = 480
"""Longest side: what a gallery of more than a few dozen images embeds, and twice a sheet's cell."""
QUALITY = 80


def make_preview(picture: Path, target: Path) -> Path | None:
    """Write a WebP copy of at most 480 px; None when the picture or the folder does not allow it.

    CPU: 12 to 60 ms for 1K; call it in a thread. Never raises: a preview is a convenience.
    """
    if target.is_file():
        return target
    temporary = target.with_suffix(".part")
    with suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(picture) as image:
            image.draft("RGB", (PREVIEW_PX, PREVIEW_PX))
            mode = "RGBA" if image.has_transparency_data else "RGB"
            small = image.convert(mode)
            small.thumbnail((PREVIEW_PX, PREVIEW_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
            small.save(temporary, "WEBP", quality=QUALITY, method=2)
        temporary.replace(target)
        return target
    return None


def fitted(size: tuple[int, int], box_px: int) -> tuple[int, int]:
    """Return width and height of `size` scaled so that the longer side is `box_px`."""
    factor = box_px / max(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def size_of(path: str | None) -> tuple[int, int] | None:
    """Return width and height of a picture in pixels, None if there is no readable one."""
    try:
        with Image.open(path or "") as picture:
            return picture.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def open_thumbnail(path: str | Path, box_px: int, *, enlarge: bool = False) -> Image.Image | None:
    """Return the picture at `path` within a square of `box_px`, or None if it cannot be read.

    JPEG is decoded at a reduced size. The mode is RGB, or RGBA where something is transparent.

    Args:
        path: A PNG, JPEG or WebP file.
        box_px: Longest side, in pixels.
        enlarge: Let small pictures grow to the box, too.
    """
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (box_px, box_px))
            mode = "RGBA" if picture.has_transparency_data else "RGB"
            size = fitted(picture.size, box_px)
            if not enlarge and max(picture.size) <= box_px:
                size = picture.size
            return picture.convert(mode).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
