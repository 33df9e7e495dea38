"""Asked as assets are asked, the sketch provider draws a thing by itself on the flat colour named."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from imagemill.asset.request import AssetRequest, StyleGuide
from imagemill.asset.template import worded
from imagemill.providers.sketch import SketchProvider
from imagemill.providers.sketch.sprite import sprite_brief
from imagemill.quality import CheckSpec, find_grid, technical_checks
from imagemill.transparency import cut_out
from tests.asset.builders import asset, guide
from tests.builders import image_request

PALETTE = ["#3B5DC9", "#38B764", "#EF7D57", "#FFCD75", "#1A1C2C", "#41A6F6", "#F4F4F4", "#B13E53"]


def order(request: AssetRequest, style: StyleGuide, **changes):
    words = worded(request, style)
    return image_request(
        prompt=words.prompt, subject=words.subject, style=words.style, size="512", **changes
    )


async def drawn(request, style, **changes) -> np.ndarray:
    image = await SketchProvider().generate(order(request, style, **changes))
    return np.asarray(Image.open(BytesIO(image.data)).convert("RGBA"))


@pytest.mark.parametrize("art_style", ["pixel_art", "hand_drawn", "ui"])
async def test_an_asset_is_drawn_on_its_key_colour_and_cut_out_clean(art_style):
    """The border is the flat colour of the prompt; the cut-out passes every technical check."""
    style = guide(artStyle=art_style, colorPalette=PALETTE, pixelDensity="48x48")
    request = asset(description="a red mushroom")
    picture = await drawn(request, style)
    assert {tuple(pixel) for pixel in picture[0, :, :3]} == {(255, 0, 255)}
    cut = cut_out(picture)
    assert cut.method == "flood"
    spec = CheckSpec(size=(512, 512), pixel_art=art_style == "pixel_art")
    failed = [check.name for check in technical_checks(cut.picture, spec) if not check.passed]
    assert failed == []


async def test_pixel_art_lies_on_the_grid_asked_for():
    """32 x 32 squares on 512 px are 16 px a side."""
    style = guide(colorPalette=PALETTE, pixelDensity="32x32")
    grid = find_grid(await drawn(asset(description="a treasure chest"), style))
    assert grid is not None
    assert grid.side_px == pytest.approx(16, abs=0.2)


async def test_equal_requests_are_equal_bytes_and_states_are_not():
    """Pressed is not hovered; the same words twice are one picture."""
    style = guide(artStyle="ui", colorPalette=PALETTE)
    told = [f"a golden key, state: {state}" for state in ("normal", "hover", "pressed", "disabled")]
    pictures = [(await drawn(asset(description=words), style)).tobytes() for words in told]
    again = (await drawn(asset(description=told[0]), style)).tobytes()
    assert len(set(pictures)) == 4
    assert again == pictures[0]


async def test_frames_move_and_keep_their_foot():
    """`frame 3 of 8` is a moment of a cycle: another picture, on the same ground."""
    style = guide(artStyle="hand_drawn", colorPalette=PALETTE)
    feet, seen = [], set()
    for number in range(1, 9):
        words = f"a red fox, idle animation, frame {number} of 8"
        cut = cut_out(await drawn(asset(description=words), style)).picture
        feet.append(np.flatnonzero((cut[..., 3] > 128).any(axis=1))[-1])
        seen.add(cut.tobytes())
    assert len(seen) == 8
    assert max(feet) - min(feet) <= 4


async def test_a_subject_that_is_not_known_still_has_a_shape():
    """The embedded provider is for trying things out: it draws something rather than nothing."""
    picture = await drawn(asset(description="a zyzzyva"), guide(colorPalette=PALETTE))
    assert (cut_out(picture).picture[..., 3] > 128).mean() > 0.1


def test_other_prompts_are_scenes_as_before():
    """Only the asset templates' own words ask for a sprite."""
    assert sprite_brief("a red fox on a perfectly flat field") is None
    assert sprite_brief("pixel art of a fox, flat #FF00FF color") is None
