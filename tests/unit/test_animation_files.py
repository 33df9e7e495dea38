"""Sprite sheet, atlas and GIF hold the frames they were given."""

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageSequence

from imagemill.animation import FrameTag, gif_preview, sprite_sheet
from imagemill.errors import RequestError
from tests.unit import motion


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


def test_the_atlas_leads_to_every_frames_pixels():
    """Cutting the sheet where the atlas says gives back every frame, pixel for pixel."""
    frames = motion.animation("fox", "bob", size_px=48)[:7]
    sheet = sprite_sheet(frames, name="fox_walk", durations_ms=[80] * 6 + [160])
    picture = np.asarray(opened(sheet.png))
    atlas = json.loads(sheet.atlas_json)
    assert list(atlas["frames"]) == [f"fox_walk {i}.png" for i in range(7)]
    for entry, frame in zip(atlas["frames"].values(), frames, strict=True):
        box = entry["frame"]
        cut = picture[box["y"] : box["y"] + box["h"], box["x"] : box["x"] + box["w"]]
        assert np.array_equal(cut, frame)
        assert entry["sourceSize"] == {"w": 48, "h": 48}
        assert not entry["trimmed"]
        assert not entry["rotated"]
    assert [entry["duration"] for entry in atlas["frames"].values()] == [80] * 6 + [160]
    size = atlas["meta"]["size"]
    assert (size["w"], size["h"]) == picture.shape[1::-1]
    assert atlas["meta"]["image"] == "fox_walk.png"


def test_frames_do_not_touch():
    """Between two frames lie transparent pixels, or filtering would bleed one into the other."""
    solid = np.full((10, 10, 4), 255, np.uint8)
    sheet = np.asarray(opened(sprite_sheet([solid] * 4, name="s", columns=2).png))
    assert sheet.shape == (22, 22, 4)
    assert not sheet[10:12].any()
    assert not sheet[:, 10:12].any()


def test_tags_name_stretches_of_frames():
    """As Aseprite writes them: first and last frame, both inside, and the direction."""
    solid = np.full((4, 4, 4), 255, np.uint8)
    tags = [FrameTag("idle", 0, 1), FrameTag("walk", 2, 5, "pingpong")]
    atlas = sprite_sheet([solid] * 6, name="hero", tags=tags).atlas
    assert atlas["meta"]["frameTags"] == [
        {"name": "idle", "from": 0, "to": 1, "direction": "forward"},
        {"name": "walk", "from": 2, "to": 5, "direction": "pingpong"},
    ]
    plain = sprite_sheet([solid] * 6, name="hero").atlas
    assert plain["meta"]["frameTags"][0] == {
        "name": "hero", "from": 0, "to": 5, "direction": "forward"}  # fmt: skip


@pytest.mark.parametrize(("number", "size"), [(1, (9, 9)), (4, (20, 20)), (8, (42, 20))])
def test_a_sheet_is_about_square_and_has_no_gaps(number, size):
    """Engines upload it as one texture."""
    solid = np.full((9, 9, 4), 255, np.uint8)
    assert opened(sprite_sheet([solid] * number, name="s").png).size == size


def test_what_is_no_sheet_is_refused():
    """Frames of two sizes, none at all, or durations that do not fit."""
    one, other = np.zeros((8, 8, 4), np.uint8), np.zeros((8, 9, 4), np.uint8)
    for frames in ([one, other], []):
        with pytest.raises(RequestError):
            sprite_sheet(frames, name="s")
        with pytest.raises(RequestError):
            gif_preview(frames)
    with pytest.raises(RequestError, match="2 frames need 2 durations"):
        sprite_sheet([one, one], name="s", durations_ms=[100])
    with pytest.raises(RequestError, match="textures end at"):
        sprite_sheet([np.zeros((6000, 6000, 4), np.uint8)] * 9, name="s")


def test_the_gif_moves_and_is_seen_through():
    """Eight frames, endless, each with its own silhouette; no ghost of the frame before."""
    frames = motion.animation("fox", "squash", size_px=64)
    gif = opened(gif_preview(frames, durations_ms=90))
    assert gif.info["loop"] == 0
    seen = [np.asarray(one.convert("RGBA")) for one in ImageSequence.Iterator(gif)]
    assert len(seen) == 8
    for shown, frame in zip(seen, frames, strict=True):
        assert np.array_equal(shown[..., 3] == 255, frame[..., 3] >= 128)
        solid = frame[..., 3] >= 250
        assert np.abs(shown[solid][:, :3].astype(int) - frame[solid][:, :3]).mean() < 6
    assert gif.info["duration"] == 90


def test_a_large_gif_is_reduced():
    """A preview is not the asset."""
    frame = np.full((300, 600, 4), 255, np.uint8)
    assert opened(gif_preview([frame], side_px=200)).size == (200, 100)
