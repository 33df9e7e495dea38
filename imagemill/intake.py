"""Reference images from outside: what comes in is decoded, bounded, and drawn anew.

What comes out is plain 8-bit sRGB without metadata, so nothing hidden in the file goes further.
Images of ours have their own, milder reader (`imagemill.decode`). Rules and limits:
facts/storage.md section 6. May import Pillow and numpy.
"""

import asyncio
import os
import stat
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from imagemill.artifact import digest_of
from imagemill.errors import ImagemillError, RequestError
from imagemill.netguard import Guard, UrlRefused, fetch

MAX_BYTES = 20_000_000
MAX_PIXELS = 40_000_000
MIN_SIDE_PX = 32
MAX_ASPECT = 10.0

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class ReferenceImage:
    """A reference image as it is sent on.

    Attributes:
        data: PNG, 8-bit RGB, no metadata, no alpha.
        digest: sha256 of `data`.
    """

    data: bytes = field(repr=False)
    width_px: int
    height_px: int
    digest: str


def take_in(data: bytes) -> ReferenceImage:
    """Turn untrusted bytes into a reference image, or say which rule they break.

    Of an animation the first frame is taken; EXIF rotation is applied; a colour profile is
    converted to sRGB, or dropped when it is broken; transparency is laid on white.
    CPU: about 0.3 s for 4 megapixels; call it in a thread from async code.

    Args:
        data: PNG, JPEG or WebP; at most 20 MB, 40 megapixels, sides from 32 px, aspect to 10:1.

    Raises:
        RequestError: A rule is broken; the message says which.
    """
    if len(data) > MAX_BYTES:
        raise _refused(f"is larger than {MAX_BYTES // 1_000_000} MB")
    opened = _opener(data)
    try:
        with opened(BytesIO(data)) as image:
            _check_size(*image.size)
            image.load()
            plain = _plain(image)
    except ImagemillError:
        raise
    # Pillow raises OSError, ValueError, SyntaxError and others, by what the broken field leads to.
    except Exception as error:
        raise _refused("is damaged or cut off") from error
    out = BytesIO()
    plain.save(out, "PNG", compress_level=6)
    encoded = out.getvalue()
    return ReferenceImage(
        data=encoded, width_px=plain.width, height_px=plain.height, digest=digest_of(encoded)
    )


def _refused(rule: str, remedy: str = "Give a whole PNG, JPEG or WebP picture.") -> RequestError:
    return RequestError(f"The reference image {rule}.", remedy=remedy)


def _opener(data: bytes) -> Callable[[BytesIO], ImageFile]:
    """Choose the decoder by the first bytes.

    The decoders are called directly: `Image.open` would warn about large pictures through the
    process-wide warning filters, and `_check_size` has the stricter limit anyway.
    """
    if data.startswith(_PNG_MAGIC):
        _check_png_end(data)
        return PngImageFile
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _check_webp_canvas(data)
        return WebPImageFile
    raise _refused("is not a PNG, JPEG or WebP picture, whatever its name or type says")


def _check_png_end(data: bytes) -> None:
    """Require the IEND chunk: Pillow takes a picture that lacks only its last bytes."""
    at = len(_PNG_MAGIC)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if kind == b"IEND" and at <= len(data):
            return
    raise _refused("is damaged or cut off (its end is missing)")


def _check_webp_canvas(data: bytes) -> None:
    """Check the size before the decoder is made, because making it takes memory for the canvas.

    Source: RFC 9649, sections 2.5 to 2.7. The first chunk starts at byte 12, its payload at 20.
    """
    if len(data) < 30:
        raise _refused("is damaged or cut off (it ends in its header)")
    kind, head = data[12:16], data[20:30]
    if kind == b"VP8X":
        size = (int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1)
    elif kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        size = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    else:
        width, height = struct.unpack_from("<HH", head, 6)
        size = (width & 0x3FFF, height & 0x3FFF)
    _check_size(*size)


def _check_size(width_px: int, height_px: int) -> None:
    size = f"is {width_px} x {height_px} px"
    if width_px * height_px > MAX_PIXELS:
        raise _refused(f"{size}; at most {MAX_PIXELS // 1_000_000} megapixels", "Make it smaller.")
    if min(width_px, height_px) < MIN_SIDE_PX:
        raise _refused(f"{size}; each side has at least {MIN_SIDE_PX} px", "Give a larger one.")
    if max(width_px, height_px) > MAX_ASPECT * min(width_px, height_px):
        raise _refused(f"{size}; the aspect is at most {MAX_ASPECT:g}:1", "Crop it.")


def _plain(image: Image.Image) -> Image.Image:
    """Return upright 8-bit sRGB without alpha or metadata. A loaded file is at its first frame."""
    profile = image.info.get("icc_profile")
    upright = _eight_bits(ImageOps.exif_transpose(image))
    colour = _in_srgb(_flattened(upright), profile)
    # A new picture has nothing in its `info`, from which the PNG writer would take metadata.
    clean = Image.new("RGB", colour.size)
    clean.paste(colour)
    return clean


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey down; Pillow's own conversion would clip it to white."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))


def _flattened(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB") if image.mode in ("1", "P") else image


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None  # a broken profile says nothing: read the numbers as sRGB
        if converted is not None:
            return converted
    return image.convert("RGB")


async def load_reference(source: str, roots: Iterable[Path], *, guard: Guard) -> ReferenceImage:
    """Load a reference image from a file under one of `roots`, or from an https address.

    Args:
        source: Path (symbolic links are followed before the check) or address.
        roots: Folders that may be read from; none forbids files.
        guard: Where connections are allowed.

    Raises:
        RequestError: Not allowed, not there, or not a usable picture.
    """
    if "://" in source:
        data = await _fetched(source, guard)
    else:
        data = await asyncio.to_thread(_read, source, tuple(roots))
    return await asyncio.to_thread(take_in, data)


async def _fetched(source: str, guard: Guard) -> bytes:
    try:
        return await fetch(source, guard, max_bytes=MAX_BYTES)
    except UrlRefused as refused:
        # The guard's own remedies speak of webhook receivers; no list allows a private host here.
        remedy = "Give an https address that everybody can reach, or a file."
        raise UrlRefused(refused.message, remedy=remedy) from None


def _read(source: str, roots: tuple[Path, ...]) -> bytes:
    try:
        path = Path(source).resolve()
        allowed = any(path.is_relative_to(root.resolve()) for root in roots)
        # Checked before it is opened: nobody learns which files exist elsewhere.
        if not allowed:
            below = (
                f"Put it below one of: {', '.join(map(str, roots))}; or name" if roots else "Name"
            )
            raise _refused(
                "is not in a folder that may be read",
                f"{below} its folder in IMAGEMILL_REFERENCE_ROOTS.",
            )
        # Not following a link that appears now; not waiting on a pipe.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise _refused("is not a file")
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a zero byte in the path
        raise _refused("cannot be read", "Check that the file exists.") from error
