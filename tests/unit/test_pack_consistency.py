"""An asset by another hand is named, and a pack of one hand is left alone."""

from functools import cache

import numpy as np
import pytest

from imagemill.pack.consistency import consistency
from imagemill.pack.duplicates import duplicates
from imagemill.pack.traits import traits_of
from tests.unit import styled

PACKS = (0, 3, 4, 9, 12, 15)
"""Pixel art twice, ink, tiles, flat shapes, line art: palettes, things and seeds of their own."""

_known: dict[bytes, dict[str, float]] = {}


def measured(picture: np.ndarray) -> dict[str, float]:
    """The traits, each picture's once."""
    key = picture.tobytes()
    if key not in _known:
        _known[key] = traits_of(picture)
    return _known[key]


@cache
def pack(number: int) -> dict[str, np.ndarray]:
    return dict(zip(styled.things_of(number), styled.pack(number, seed=70 + number), strict=True))


@pytest.mark.parametrize("number", PACKS)
def test_a_pack_of_one_hand_has_nobody_off_style(number):
    """Twelve different things drawn alike: no alarm, whatever their colours; no two the same."""
    found = consistency(pack(number), styled.palette_of(number), measure=measured)
    assert found.off_style == ()
    assert found.score is not None
    assert found.score > 70
    assert duplicates(pack(number)) == ()


@pytest.mark.parametrize(("kind", "least"), [("other_hand", 5), ("other_palette", 3), ("soft", 6)])
def test_a_planted_asset_is_named_and_only_it(kind, least):
    """One of twelve drawn in another way, in shrill colours, or smooth among crisp ones."""
    right = []
    for number in PACKS:
        things = styled.things_of(number)
        thing = things[(5 * number + 3) % 12]
        strange = styled.OFF_STYLE[kind](thing, pack(number)[thing], number)
        found = consistency(
            {**pack(number), thing: strange}, styled.palette_of(number), measure=measured
        )
        right.append(found.off_style == (thing,))
    assert sum(right) >= least


def test_off_style_says_why_and_what_to_ask_for():
    """The name comes with the traits that part it and a sentence for the next prompt."""
    strange = styled.soft("key", pack(4)["key"], 4)
    found = consistency({**pack(4), "key": strange}, styled.palette_of(4), measure=measured)
    odd = next(asset for asset in found.assets if asset.name == "key")
    assert odd.off_style
    assert odd.score < 50
    assert "softness" in odd.why
    assert odd.remedy.startswith("Ask for")


def test_three_assets_are_not_judged():
    """There is no median of two others; no score is claimed."""
    few = dict(list(pack(0).items())[:3])
    found = consistency(few)
    assert (found.score, found.assets, found.off_style) == (None, (), ())


def test_the_same_picture_twice_is_named():
    """The same drawing in another size and a little noisier is the same; a mirrored one is not."""
    fox = styled.asset("fox", "hand_drawn", size_px=512)
    small = styled.asset("fox", "hand_drawn", size_px=256)
    found = duplicates({"fox": fox, "fox_again": small, "other": fox[:, ::-1].copy()})
    assert found == (("fox", "fox_again"),)
