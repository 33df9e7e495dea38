"""From the picture that came to the file that is delivered: exact size, snapped, measured."""

import numpy as np
import pytest

from imagemill.asset.finishing import (
    checked_picture,
    encoded,
    finished,
    fitted,
    outcome_of,
    pixels,
    white_preview,
)
from imagemill.errors import ArtifactError
from imagemill.quality import Check
from tests.asset.builders import asset, guide
from tests.unit import planted

KEY = (255, 0, 255)
DRAWN = {"artStyle": "hand_drawn", "colorPalette": []}


def came(picture) -> bytes:
    """As a provider sends it: opaque, on the flat background that was asked for."""
    return encoded(planted.over(picture, KEY))


def test_a_drawing_is_cut_out_and_fitted_to_the_exact_size():
    """No technical check of the order fails."""
    order = asset(size={"width": 200, "height": 200})
    done = finished(came(planted.sprite("fox", outline=1.2)), order, guide(**DRAWN))
    failed = [c.name for c in checked_picture(done.picture, order, guide(**DRAWN)) if not c.passed]
    assert (done.picture.shape, failed) == ((200, 200, 4), [])
    assert (done.facts.cut_out, done.facts.original_size) == ("flood", (256, 256))
    assert np.array_equal(pixels(done.png), done.picture)


def test_pixel_art_is_snapped_to_its_grid_and_palette():
    """Soft squares in 65 colours come out as hard ones in the palette's."""
    palette = ["#2D2D2D", "#F4A460", "#8FBC8F", "#4A90E2", "#FFFFFF"]
    look = guide(colorPalette=palette)
    order = asset(size={"width": 128, "height": 128})
    drawn = planted.sixty_five_colours(planted.pixel_sprite("knight"))
    done = finished(came(drawn), order, look)
    colours = {tuple(c) for c in done.picture[done.picture[..., 3] > 0][:, :3].tolist()}
    assert colours <= {tuple(bytes.fromhex(c[1:])) for c in palette}
    assert set(np.unique(done.picture[..., 3])) == {0, 255}
    assert (done.facts.snapped, done.facts.pixel_grid_px) == ("palette", 8)
    squares = done.picture.reshape(32, 4, 32, 4, 4)
    assert (squares == squares[:, :1, :, :1]).all()


def test_without_a_palette_only_the_number_of_colours_is_kept():
    """At most the guide's maxColors, chosen from those that are seen."""
    look = guide(colorPalette=[], constraints={"maxColors": 6})
    done = finished(came(planted.pixel_sprite("potion")), asset(), look)
    assert done.facts.snapped == "colours"
    assert len(np.unique(done.picture[done.picture[..., 3] > 0][:, :3], axis=0)) <= 6


@pytest.mark.parametrize("size", [(64, 64), (300, 100), (100, 300), (512, 512), (8, 8)])
def test_every_size_is_exact_and_nothing_is_stretched(size):
    """A square subject stays square: what is missing is transparent room."""
    picture = planted.sprite("apple", size_px=128)
    out = fitted(picture, size, crisp=False, pad=True)
    assert out.shape == (size[1], size[0], 4)
    rows, columns = np.flatnonzero(out[..., 3].max(axis=1)), np.flatnonzero(out[..., 3].max(axis=0))
    before = np.argwhere(picture[..., 3])
    wide = np.ptp(before[:, 1]) / np.ptp(before[:, 0])
    if min(size) > 50:
        assert np.ptp(columns) / np.ptp(rows) == pytest.approx(wide, rel=0.06)


def test_with_a_background_the_longer_side_is_cropped():
    """No empty bars where a scene was ordered."""
    look = guide(**DRAWN, constraints={"transparentBackground": False})
    scene = planted.over(planted.sprite("tree"), planted.gradient(256, 1))
    done = finished(encoded(scene), asset(size={"width": 320, "height": 160}), look)
    assert done.picture.shape == (160, 320, 4)
    assert (done.picture[..., 3] == 255).all()
    assert done.facts.cut_out is None


def test_the_same_picture_gives_the_same_bytes():
    """A judgement is found again by them."""
    data = came(planted.sprite("owl"))
    assert finished(data, asset(), guide()).png == finished(data, asset(), guide()).png


def test_the_preview_is_on_white():
    """Opaque, white where the asset is clear."""
    shown = pixels(white_preview(planted.sprite("key")))
    assert (shown[..., 3] == 255).all()
    assert shown[0, 0].tolist() == [255] * 4


def test_what_is_no_picture_is_an_artifact_error():
    """It says so without its bytes."""
    with pytest.raises(ArtifactError):
        pixels(b"no picture")


def test_a_band_is_told_by_its_nearer_end():
    """Judges know one threshold a check."""
    band = Check(name="coverage", value=0.99, threshold=(0.02, 0.95), passed=False, remedy="Cut.")
    assert (outcome_of(band).threshold, outcome_of(band).passed) == (0.95, False)


def test_a_small_gap_that_shows_the_ordered_colour_is_cut_out_too():
    """Between two legs, 11 x 20 px of 256: no magenta is delivered, and none passes the checks."""
    order, look = asset(size={"width": 256, "height": 256}), guide(**DRAWN)
    drawn = planted.over(planted.sprite("fox", outline=1.2), KEY).copy()
    inside = np.argwhere(planted.sprite("fox", outline=1.2)[..., 3] == 255)
    y, x = (int(v) for v in np.median(inside, axis=0))
    drawn[y : y + 20, x : x + 11, :3] = KEY
    done = finished(encoded(drawn), order, look)
    assert done.picture[y + 4 : y + 16, x + 3 : x + 8, 3].max() == 0
    failed = {c.name for c in checked_picture(done.picture, order, look) if not c.passed}
    assert "background_left" not in failed
    left = done.picture.copy()
    left[y : y + 20, x : x + 11] = (*KEY, 255)
    failed = {c.name for c in checked_picture(left, order, look) if not c.passed}
    assert "background_left" in failed
