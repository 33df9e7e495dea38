"""Pixel grid, palette, fingerprints and regions: each against a truth known beforehand."""

import numpy as np
import pytest
from PIL import Image

from imagemill.quality import (
    CheckSpec,
    cells,
    distance,
    duplicate,
    find_grid,
    fingerprint,
    snap_to_grid,
    snap_to_palette,
    technical_checks,
)
from imagemill.quality.regions import label, reachable, shrunk
from tests.unit import planted

PALETTE = ("#2a2631", "#d9402f", "#fdf1dd", "#8a5a35")


def resized(picture, side):
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(
    ("change", "side_px"),
    [(lambda p: p, 8.0), (lambda p: planted.blur(p, 1.0), 8.0), (lambda p: resized(p, 300), 9.375)],
    ids=["exact", "blurred", "fractional"],
)
def test_pixel_art_is_brought_back_to_its_own_pixels(change, side_px):
    """However soft its squares, the grid is found and each square gets its colour back."""
    true = planted.pixel_sprite("fox")[::8, ::8]
    picture = change(planted.pixel_sprite("fox"))
    grid = find_grid(picture)
    assert grid.side_px == side_px
    small = cells(picture, grid)
    assert small.shape == true.shape
    assert (np.abs(small.astype(int) - true).max(axis=-1) < 24).mean() > 0.99


def test_a_drawing_has_no_grid_and_is_left_alone():
    """Snapping invents no squares; the picture given is never changed."""
    picture = planted.sprite("fox", outline=1.0)
    before = picture.copy()
    assert find_grid(picture) is None
    assert np.array_equal(snap_to_grid(picture), before)
    assert np.array_equal(picture, before)


def test_snapping_to_the_grid_keeps_the_size_and_hardens_the_edges():
    """Blurred pixel art comes back with full or no alpha, each square one colour."""
    soft = planted.blur(planted.pixel_sprite("robot"), 1.0)
    hard = snap_to_grid(soft)
    assert hard.shape == soft.shape
    assert set(np.unique(hard[..., 3])) == {0, 255}
    assert np.array_equal(hard, hard[::8, ::8].repeat(8, axis=0).repeat(8, axis=1))


def test_a_picture_with_one_colour_has_no_grid():
    """Where nothing changes there are no lines."""
    assert find_grid(np.full((64, 64, 4), 255, np.uint8)) is None


def test_snapping_to_a_palette_makes_the_palette_check_pass():
    """Off the palette fails; snapped, every visible pixel has one of its colours."""
    picture = planted.sprite("fox")
    spec = CheckSpec(pixel_art=True, palette=PALETTE)
    named = {c.name: c for c in technical_checks(picture, spec)}
    assert not named["palette"].passed
    snapped = snap_to_palette(picture, PALETTE)
    named = {c.name: c for c in technical_checks(snapped, spec)}
    assert named["palette"].value == 1.0
    assert named["colour_count"].value <= 4
    assert np.array_equal(snapped[..., 3], picture[..., 3])


def test_an_empty_picture_survives_every_tool():
    """Nothing visible is judged, snapped and hashed without an error."""
    nothing = np.zeros((32, 32, 4), np.uint8)
    assert np.array_equal(snap_to_palette(nothing, PALETTE), nothing)
    spec = CheckSpec(pixel_art=True, palette=PALETTE)
    assert not all(check.passed for check in technical_checks(nothing, spec))
    assert len(fingerprint(nothing)) == 16


@pytest.mark.parametrize("side", [1, 2, 3, 9])
def test_the_smallest_pictures_are_judged_too(side):
    """A picture of a few pixels raises no error."""
    picture = np.full((side, side, 4), 200, np.uint8)
    assert technical_checks(picture, CheckSpec(size=(side, side)), others=())


def test_a_copy_is_a_duplicate_and_another_sprite_is_not():
    """Noise, blur and size do not hide a copy."""
    fox, robot = planted.sprite("fox"), planted.sprite("robot")
    known = [fingerprint(robot), fingerprint(fox)]
    for copy in (
        planted.noise(fox, 5.0),
        planted.blur(fox, 1.0),
        planted.sprite("fox", size_px=200),
    ):
        assert not duplicate(copy, known).passed
    assert duplicate(planted.sprite("house"), known).passed
    assert distance(known[0], known[0]) == 0
    assert duplicate(fox, []).value == 64


def test_labels_agree_with_walking_pixel_by_pixel():
    """Pieces found by runs are those a plain flood finds, with corners and without."""
    rng = np.random.default_rng(3)
    for diagonal in (True, False):
        for density in (0.2, 0.5, 0.7):
            mask = rng.random((23, 31)) < density
            labels, area = label(mask, diagonal=diagonal)
            assert (labels > 0).tolist() == mask.tolist()
            assert area[1:].tolist() == np.bincount(labels[mask], minlength=len(area))[1:].tolist()
            assert len(area) - 1 == walked(mask, diagonal)


def walked(mask, diagonal):
    """Count pieces the slow way."""
    left, pieces = {tuple(p) for p in np.argwhere(mask)}, 0
    while left:
        pieces, queue = pieces + 1, [left.pop()]
        while queue:
            y, x = queue.pop()
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if (dy and dx and not diagonal) or (y + dy, x + dx) not in left:
                        continue
                    left.remove((y + dy, x + dx))
                    queue.append((y + dy, x + dx))
    return pieces


def test_only_what_touches_a_seed_is_reached_and_the_border_does_not_shrink():
    """A piece without a seed is left out; a mask that fills the picture keeps its border."""
    mask = np.zeros((5, 9), bool)
    mask[1:3, 1:3] = mask[1:4, 6:8] = True
    seeds = np.zeros_like(mask)
    seeds[1, 1] = True
    assert reachable(mask, seeds).sum() == 4
    assert shrunk(np.ones((4, 4), bool), 2).all()
