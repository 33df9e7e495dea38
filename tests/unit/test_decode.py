"""Decoding in full: what is cut, damaged, foreign or too large is not a picture."""

from io import BytesIO

import pytest
from PIL import Image, ImageFile

from imagemill.artifact import digest_of
from imagemill.decode import decoded
from imagemill.errors import ArtifactError

MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def encoded(name="PNG", *, size=(40, 24), mode="RGB", **options) -> bytes:
    picture = Image.effect_noise(size, 60).convert(mode)
    buffer = BytesIO()
    picture.save(buffer, name, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "media_type"), MEDIA_TYPES.items())
def test_a_whole_picture_is_described(name, media_type):
    """Kind, width before height, digest, and the very bytes that came."""
    data = encoded(name)
    found = decoded(data)
    assert (found.media_type, found.width_px, found.height_px) == (media_type, 40, 24)
    assert (found.data, found.digest, found.size_bytes) == (data, digest_of(data), len(data))
    assert not found.alpha


def test_transparency_is_seen():
    """An alpha channel is told apart from a picture without one."""
    assert decoded(encoded(mode="RGBA")).alpha


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("name", MEDIA_TYPES)
@pytest.mark.parametrize("missing_bytes", [1, 2, 12, 30, 200, "half"])
def test_a_cut_picture_is_refused(name, missing_bytes, lenient, monkeypatch):
    """From the last byte on, and even when something told Pillow to be lenient."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    data = encoded(name)
    keep = len(data) // 2 if missing_bytes == "half" else len(data) - missing_bytes
    with pytest.raises(ArtifactError):
        decoded(data[:keep])


def test_a_damaged_picture_is_refused():
    """Flipped bytes in the pixels do not pass as a picture."""
    data = bytearray(encoded())
    for at in range(60, 90):
        data[at] ^= 0xFF
    with pytest.raises(ArtifactError):
        decoded(bytes(data))


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x89PNG\r\n\x1a\n", encoded("GIF", mode="P")])
def test_what_is_no_picture_is_refused(data):
    """Nothing, a web page, a bare signature, a format that is not stored."""
    with pytest.raises(ArtifactError, match="not a whole PNG, JPEG or WebP"):
        decoded(data)


def test_a_bomb_is_refused_before_memory_is_taken():
    """Megapixels are counted in the header; the limit is the call's, not Pillow's global one."""
    data = encoded(size=(400, 300))
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ArtifactError, match=r"400 x 300 px; at most 0\.1 megapixels"):
        decoded(data, max_megapixels=0.1)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert decoded(data, max_megapixels=0.12).width_px == 400
