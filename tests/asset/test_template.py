"""Templates: every parameter of the document, and negatives where the model wants them."""

import pytest

from imagemill.asset.data import gaps, shelf_file
from imagemill.asset.negative import negative_prompt, placed
from imagemill.asset.template import (
    HandDrawn,
    PixelArt,
    UIElement,
    key_color,
    template_kind,
    worded,
)
from imagemill.errors import UnsupportedRequest
from imagemill.providers.gemini import GeminiProvider
from tests.asset.builders import CANARY, asset, guide

DOCUMENT = {
    "pixel_art": {"subject", "purpose", "palette_size", "width", "height", "pixel_density",
                  "facing_direction", "pose", "style_reference_description", "color_palette"},
    "hand_drawn": {"subject", "purpose", "art_style", "mood", "proportions", "detail_level", "width",
                   "height", "color_palette", "reference_styles"},
    "ui_element": {"style", "element_type", "purpose", "width", "height", "states", "primary_color",
                   "accent_color", "border_style", "shadow_style", "icon_style"},
}  # fmt: skip
"""The gaps of the templates in 003, section 3.1."""


@pytest.mark.parametrize("name", DOCUMENT)
def test_a_template_has_every_gap_of_the_document(name):
    """None is missing; ours beside them are the background, and the subject of UI elements."""
    assert gaps(shelf_file(name)["template"]) - {"background", "subject"} == DOCUMENT[name] - {
        "subject"
    }


@pytest.mark.parametrize(("kind", "style"), [(PixelArt, "pixel_art"), (HandDrawn, "hand_drawn"),
                                             (UIElement, "ui")])  # fmt: skip
def test_defaults_leave_no_gap_open(kind, style):
    """A bare request under a bare guide is a whole prompt, with the asker's own braces kept."""
    words = worded(asset(description="a {pose} {subject}"), guide(artStyle=style, colorPalette=[]))
    assert "a {pose} {subject}" in words.prompt
    assert "512x512" in words.prompt
    assert gaps(words.prompt.replace("a {pose} {subject}", "")) == set()


def test_the_request_comes_before_the_guide_and_the_guide_before_the_default():
    """Palette and density of the guide, pose of the request, facing by default."""
    prompt = worded(asset(parameters={"pose": "jumping", "palette_size": 12}), guide()).prompt
    for told in (
        "Pose: jumping", "Facing: right", "Limited color palette: 12 colors", "Pixel grid: 32x32",
        "#2D2D2D, #F4A460, #8FBC8F, #4A90E2", "MOOD: cheerful", "Celeste, Stardew Valley",
    ):  # fmt: skip
        assert told in prompt
    assert "Limited color palette: 16 colors" in worded(asset(), guide()).prompt
    own = worded(asset(), guide(constraints={}, colorPalette=[])).prompt
    assert "Limited color palette: 8 colors" in own


def test_an_unknown_parameter_lists_the_known_ones():
    """The message names the template's parameters, and not what was given."""
    with pytest.raises(UnsupportedRequest, match="facing_direction, pose") as caught:
        worded(asset(parameters={CANARY: 1, "pose": CANARY}), guide())
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("style", "category", "kind"),
    [
        ("Pixel Art", "sprite", "pixel_art"),
        ("hand-drawn", "sprite", "hand_drawn"),
        ("ui element", "sprite", "ui"),
        ("pixel_art", "ui", "ui"),
    ],
)
def test_the_template_follows_category_and_style(style, category, kind):
    """A UI element of a pixel art game is a UI element, drawn as pixel art."""
    told, look = asset(category=category), guide(artStyle=style)
    assert template_kind(told, look) == kind
    if (kind, style) == ("ui", "pixel_art"):
        prompt = worded(told, look).prompt
        assert "game UI element in pixel art style" in prompt
        assert "COLOR PALETTE: #2D2D2D, #F4A460" in prompt  # the template has no gap for it


def test_an_art_style_without_template_lists_those_there_are():
    """Not drawn in some other style silently."""
    with pytest.raises(UnsupportedRequest, match="pixel_art, hand_drawn, ui"):
        worded(asset(), guide(artStyle="cubism"))


def test_transparency_is_asked_of_those_who_can_draw_it():
    """Others get a flat colour far from the palette, to be cut out: asked for alpha they draw a checkerboard."""
    assert "TRANSPARENT (alpha channel)" in worded(asset(), guide(), alpha="drawn").prompt
    keyed = worded(asset(), guide()).prompt
    assert "perfectly flat #FF00FF" in keyed
    assert "TRANSPARENT" not in keyed
    assert key_color(("#FF00FF", "#FFFFFF", "#00FFFF")) == "#00FF00"
    scene = guide(constraints={"transparentBackground": False})
    assert "flat #" not in worded(asset(), scene).prompt


def test_negatives_are_the_documents_by_style_and_ours_by_category():
    """Common, background, style and category, each once."""
    told = negative_prompt(asset(), guide()).split(", ")
    assert {"watermark", "jpeg artifacts", "complex background", "anti-aliasing", "cropped"} <= set(
        told
    )
    assert len(told) == len(set(told))
    scene = negative_prompt(asset(category="Background"), guide(artStyle="hand_drawn"))
    assert "complex background" not in scene
    assert "low poly" in scene


def test_text_may_be_allowed():
    """noText false leaves the words about writing out, in the negative and in the template."""
    lettered = worded(asset(), guide(constraints={"noText": False}))
    assert "letters" not in lettered.negative_prompt.split(", ")
    assert "- Text" not in lettered.prompt


def test_the_negative_goes_where_the_model_has_a_field():
    """Gemini's adapter takes it; a model without folds it, as much as its limit leaves room for."""
    able = GeminiProvider(api_key="k").capabilities()
    assert placed("a fox", "text, blur", able) == ("a fox", "text, blur")
    unable = able.model_copy(update={"negative_prompt": False})
    assert placed("a fox", "text, blur", unable) == ("a fox\n\nAvoid: text, blur", "")
    tight = unable.model_copy(update={"prompt_limit_chars": 20})
    assert placed("a fox", "text, blur", tight) == ("a fox\n\nAvoid: text", "")
    full = unable.model_copy(update={"prompt_limit_chars": 8})
    assert placed("a fox", "text, blur", full) == ("a fox", "")
    assert placed("a fox", "", unable) == ("a fox", "")
