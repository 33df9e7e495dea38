"""Reference images from outside are taken in as plain redrawn pixels, or refused with the rule."""

import gzip
import os
import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from imagemill.artifact import digest_of
from imagemill.errors import RequestError
from imagemill.intake import MAX_BYTES, load_reference, take_in
from imagemill.netguard import Guard, UrlRefused
from tests.wire.loopback import loopback, says


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
    "webp cut in its header": (WEBP[:22], "at least 32 px"),
    "jpeg start only": (b"\xff\xd8\xff\xe0", BROKEN),
    "too many bytes": (b"\0" * (MAX_BYTES + 1), "20 MB"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "rule"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_with_the_rule_it_breaks(data, rule):
    """Nothing Pillow raises, warns or accepts by mistake gets past: the asker is told the rule."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RequestError, match=rule) as refused:
            take_in(data)
    assert refused.value.remedy


def drawn(data):
    """The picture that comes out, after checking what holds for every one."""
    taken = take_in(data)
    assert taken.digest == digest_of(taken.data)
    with Image.open(BytesIO(taken.data)) as image:
        image.load()
        assert (image.format, image.mode, image.info) == ("PNG", "RGB", {})
        assert not image.getexif()
        assert image.size == (taken.width_px, taken.height_px)
        return image.copy()


@pytest.mark.parametrize("data", [PNG, JPEG, WEBP], ids=["png", "jpeg", "webp"])
def test_a_plain_picture_keeps_its_pixels(data):
    """What goes in as 8-bit RGB comes out as the same pixels."""
    with Image.open(BytesIO(data)) as image:
        assert drawn(data).tobytes() == image.convert("RGB").tobytes()


def test_the_same_picture_has_the_same_digest():
    """The digest is part of the request key, so it does not change from run to run."""
    assert take_in(PNG) == take_in(PNG)
    assert "data" not in repr(take_in(PNG))


def test_a_broken_profile_is_dropped():
    """16: a colour profile of garbage leaves the pixels as they are."""
    data = encoded(noise(), icc_profile=b"garbage" * 10)
    assert drawn(data).tobytes() == noise().tobytes()


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RED_IS_BLUE = SRGB.replace(b"rXYZ", b"____").replace(b"bXYZ", b"rXYZ").replace(b"____", b"bXYZ")


def test_a_profile_is_converted_to_srgb():
    """A picture in another colour space looks the same afterwards, so its numbers change."""
    red = Image.new("RGB", (64, 64), "red")
    assert drawn(encoded(red, icc_profile=SRGB)).getpixel((9, 9)) == (255, 0, 0)
    r, g, b = drawn(encoded(red, icc_profile=RED_IS_BLUE)).getpixel((9, 9))
    assert r < 10
    assert g < 10
    assert b > 245


def test_a_profile_for_another_kind_of_picture_is_dropped():
    """A colour profile in a grey picture leaves its greys as they are."""
    grey = noise().convert("L")
    assert drawn(encoded(grey, icc_profile=SRGB)).tobytes() == grey.convert("RGB").tobytes()


def test_exif_rotation_is_applied():
    """17: a phone's sideways picture comes out upright."""
    exif = Image.Exif()
    exif[0x112] = 6
    assert drawn(encoded(noise(80, 40), "JPEG", exif=exif)).size == (40, 80)


def test_cmyk_is_converted():
    """18: a print file comes out as RGB."""
    red = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    assert drawn(encoded(red, "JPEG")).getpixel((9, 9))[0] > 200


def test_transparency_is_laid_on_white():
    """19: palette, grey and RGB transparency all end on white, not on black."""
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    for data in (
        encoded(clear),
        encoded(clear.convert("LA")),
        encoded(palette, transparency=0),
        encoded(clear, "WEBP", lossless=True),
    ):
        assert drawn(data).getpixel((9, 9)) == (255, 255, 255)


def test_a_palette_and_one_bit_become_rgb():
    """Few colours are colours too."""
    assert drawn(encoded(noise().quantize(16))).size == (80, 40)
    white = Image.new("1", (64, 64), 1)
    assert drawn(encoded(white)).getpixel((9, 9)) == (255, 255, 255)


def test_16_bit_grey_keeps_its_range():
    """20: mid-grey stays mid-grey, where a plain conversion would make it white."""
    grey = Image.fromarray(np.full((64, 64), 0x8000, np.uint16))
    assert drawn(encoded(grey)).getpixel((9, 9)) == (128, 128, 128)


def test_of_an_animation_the_first_frame_is_taken():
    """21: an animated PNG or WebP counts as its first picture."""
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "lime", "blue")]
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True})):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert drawn(data).getpixel((9, 9)) == (255, 0, 0)


def test_a_tail_and_metadata_are_left_behind():
    """24: what hides behind or beside the pixels does not go further."""
    about = PngImagePlugin.PngInfo()
    about.add_text("Comment", "s3cret words")
    exif = Image.Exif()
    exif[0x10E] = "s3cret words"
    data = encoded(noise(), pnginfo=about, exif=exif) + b"PK\x03\x04 s3cret words"
    assert drawn(data).tobytes() == noise().tobytes()
    assert b"s3cret" not in take_in(data).data


async def test_a_file_below_a_root_is_loaded(tmp_path):
    """A file in an allowed folder is read, also through a link inside it."""
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "link.png").symlink_to("a.png")
    for name in ("a.png", "link.png", "../" + tmp_path.name + "/a.png"):
        loaded = await load_reference(str(tmp_path / name), [tmp_path], guard=Guard())
        assert loaded == take_in(PNG)


async def test_files_elsewhere_are_refused_whether_they_exist_or_not(tmp_path):
    """Nothing outside the roots is read, and nobody learns what is there."""
    root, outside = tmp_path / "root", tmp_path / "outside.png"
    root.mkdir()
    outside.write_bytes(PNG)
    (root / "link.png").symlink_to(outside)
    (tmp_path / "root-2").mkdir()
    sources = (outside, root / "link.png", root / "../outside.png", tmp_path / "missing.png",
               tmp_path / "root-2/a.png", "/etc/passwd")  # fmt: skip
    said = set()
    for source in sources:
        with pytest.raises(RequestError, match="not in a folder") as refused:
            await load_reference(str(source), [root], guard=Guard())
        said.add(str(refused.value))
    assert len(said) == 1
    with pytest.raises(RequestError, match="IMAGEMILL_REFERENCE_ROOTS"):
        await load_reference(str(outside), [], guard=Guard())


async def test_what_is_no_readable_file_is_refused(tmp_path):
    """A missing file, a folder, a pipe, a loop of links, a zero byte: refused, without waiting."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("missing.png", "", "pipe", "loop", "zero\0byte", "x" * 300):
        with pytest.raises(RequestError):
            await load_reference(f"{tmp_path}/{name}", [tmp_path], guard=Guard())


async def test_an_address_is_fetched_through_the_guard():
    """A picture on an allowed host is loaded; other hosts and schemes are refused."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(PNG)}\r\n\r\n"
    async with loopback(says(head.encode() + PNG)) as server:
        loaded = await load_reference(f"{server.url}/a", [], guard=Guard.of("127.0.0.1"))
        assert loaded == take_in(PNG)
        for source in (server.url, "file:///etc/passwd", "https://169.254.169.254/"):
            with pytest.raises(UrlRefused):
                await load_reference(source, [], guard=Guard())
