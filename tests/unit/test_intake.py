"""Reference images from outside are taken in as plain redrawn pixels. Refusals: test_abuse.py."""

import os
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from imagemill.artifact import digest_of
from imagemill.errors import RequestError
from imagemill.intake import load_reference, take_in
from imagemill.netguard import Guard, UrlRefused
from tests.unit.bad_pictures import JPEG, PNG, WEBP, encoded, noise
from tests.wire.loopback import loopback, says


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
