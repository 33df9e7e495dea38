"""Reference images that nobody should send: each with the rule it breaks, or made harmless."""

import gzip
import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image, PngImagePlugin

from imagemill.intake import MAX_BYTES


def encoded(image, kind="PNG", **options):
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noise(width_px=80, height_px=40):
    """A picture that does not compress away, so that cutting it cuts pixels."""
    values = np.random.default_rng(1).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    return Image.fromarray(values)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width_px, height_px):
    ihdr = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", ihdr)


def bomb(side_px):
    """A 1-bit PNG of `side_px` squared: kilobytes that want gigabytes."""
    row = b"\0" * (side_px // 8 + 2)
    packer = zlib.compressobj(1)
    data = b"".join([*(packer.compress(row) for _ in range(side_px)), packer.flush()])
    ihdr = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", ihdr) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


PNG = encoded(noise())
JPEG = encoded(noise(), "JPEG")
WEBP = encoded(noise(), "WEBP")
TINY_IDAT = png_chunk(b"IDAT", zlib.compress(b"\0" * 90)) + png_chunk(b"IEND", b"")
TEXT_BOMB = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"A" * 64_000_000, 1))

NOT_A_PICTURE, BROKEN, TOO_MANY = "not a PNG, JPEG or WebP", "damaged or cut off", "40 megapixels"


def webp_of(kind, head):
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", 10) + head


REFUSED = {
    "01 empty": (b"", NOT_A_PICTURE),
    "02 html": (b"<!doctype html><html><body>404</body></html>", NOT_A_PICTURE),
    "03 svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='64'/>", NOT_A_PICTURE),
    "04 signature only": (PNG[:8], BROKEN),
    "05 png cut at half": (PNG[: len(PNG) // 2], BROKEN),
    "06 png less 20 bytes": (PNG[:-20], "its end is missing"),
    "07 jpeg cut at half": (JPEG[: len(JPEG) // 2], BROKEN),
    "08 png with a flipped byte": (flipped(PNG, 60), BROKEN),
    "09 20000 squared": (bomb(20_000), TOO_MANY),
    "10 13400 squared": (bomb(13_400), TOO_MANY),
    "10b 10000 squared, Pillow only warns": (bomb(10_000), TOO_MANY),
    "11 60000 squared in the header": (png_header(60_000, 60_000) + TINY_IDAT, TOO_MANY),
    "12 0 x 0": (png_header(0, 0) + TINY_IDAT, BROKEN),
    "13 1 x 1": (encoded(Image.new("RGB", (1, 1))), "at least 32 px"),
    "14 jpeg 65500 x 1": (encoded(Image.new("RGB", (65_500, 1)), "JPEG"), "at least 32 px"),
    "14b 400 x 32": (encoded(Image.new("RGB", (400, 32))), "aspect is at most 10:1"),
    "15 text bomb": (PNG[:33] + TEXT_BOMB + PNG[33:], BROKEN),
    "21b gif": (encoded(noise(), "GIF"), NOT_A_PICTURE),
    "22 eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", NOT_A_PICTURE),
    "23 bmp": (encoded(noise(), "BMP"), NOT_A_PICTURE),
    "23b tiff": (encoded(noise(), "TIFF"), NOT_A_PICTURE),
    "23c ico": (encoded(noise(64, 64), "ICO"), NOT_A_PICTURE),
    "23d float tiff of NaN": (
        encoded(Image.fromarray(np.full((64, 64), np.nan, np.float32)), "TIFF"), NOT_A_PICTURE),
    "25 webp cut to 200 bytes": (WEBP[:200], BROKEN),
    "25b gzip of a png": (gzip.compress(PNG), NOT_A_PICTURE),
    "webp canvas 16384 squared": (webp_of(b"VP8X", b"\0\0\0\0\xff\x3f\0\xff\x3f\0"), TOO_MANY),
    "webp lossless 16384 squared": (webp_of(b"VP8L", b"\x2f\xff\xff\xff\x0f" + b"\0" * 5), TOO_MANY),
    "webp lossy 16383 squared": (webp_of(b"VP8 ", b"\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f"), TOO_MANY),
    "webp cut in its header": (WEBP[:22], "ends in its header"),
    "jpeg start only": (b"\xff\xd8\xff\xe0", BROKEN),
    "too many bytes": (b"\0" * (MAX_BYTES + 1), "20 MB"),
}  # fmt: skip


def rotated():
    exif = Image.Exif()
    exif[0x112] = 6
    return encoded(noise(), "JPEG", exif=exif)


def animated(kind):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "lime", "blue")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def palette():
    picture = Image.new("P", (64, 64), 0)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    return encoded(picture, transparency=0)


def annotated():
    about = PngImagePlugin.PngInfo()
    about.add_text("Comment", "hidden words")
    return encoded(noise(), pnginfo=about)


HARMLESS = {
    "16 png with a broken colour profile": encoded(noise(), icc_profile=b"garbage" * 10),
    "17 jpeg, EXIF says: turn me": rotated(),
    "18 jpeg in CMYK": encoded(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG"),
    "19 png with palette and transparency": palette(),
    "20 png, 16-bit grey": encoded(Image.fromarray(np.full((64, 64), 0x8000, np.uint16))),
    "21 animated png": animated("PNG"),
    "21c animated webp": animated("WEBP"),
    "24 png with a zip file behind it": encoded(noise()) + b"PK\x03\x04 hidden words",
    "24b png with words in its metadata": annotated(),
}
"""What is taken, by what may not go further."""
