"""Prompt templates of the document (003, section 3.1): pixel art, hand drawn, UI element.

The words are data (`shelf/*.toml`); the parameters are typed here, each with a default. A value of
the request's `parameters` comes before the style guide's, and that before the default.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from imagemill.asset.data import filled, gaps, shelf_file
from imagemill.asset.negative import STYLE_ALIASES, negative_prompt
from imagemill.asset.request import AssetRequest, HexColor, StyleGuide, told_without_input
from imagemill.errors import UnsupportedRequest

Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Palette = Annotated[tuple[HexColor, ...], Field(min_length=1, max_length=64)]

DEFAULT_PALETTE = ("#000000", "#FFFFFF", "#FF0000", "#00FF00", "#0000FF", "#FFFF00", "#FF00FF",
                   "#00FFFF")  # fmt: skip
"""The document's (003, section 3.1)."""

KEY_COLORS = ("#FF00FF", "#00FF00", "#00FFFF", "#FFFFFF")
"""Flat backgrounds that are cut out afterwards; the one farthest from the palette is taken."""

UI_CATEGORIES = frozenset({"ui", "ui_element", "button", "icon", "panel", "cursor", "hud"})


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    file: ClassVar[str]


class PixelArt(_Parameters):
    """Gaps of the pixel art template. `palette_size` None is the number of colours in `palette`."""

    file = "pixel_art"

    palette: Palette = DEFAULT_PALETTE
    palette_size: Annotated[int | None, Field(ge=2, le=256)] = None
    pixel_density: Phrase = "32x32"
    facing_direction: Phrase = "right"
    pose: Phrase = "idle stance"
    style_reference_description: Phrase = "Similar to Celeste, Stardew Valley, or Undertale"


class HandDrawn(_Parameters):
    """Gaps of the hand-drawn template; an empty `palette` leaves the colours to the model."""

    file = "hand_drawn"

    palette: Annotated[tuple[HexColor, ...], Field(max_length=64)] = ()
    art_style: Phrase = "western cartoon"
    mood: Phrase = "cheerful"
    proportions: Phrase = "stylized, large head, short body"
    detail_level: Phrase = "medium, readable at game size"
    reference_styles: Phrase = "Modern hand-drawn 2D platform games"


class UIElement(_Parameters):
    """Gaps of the UI element template. `states` are drawn in the order given."""

    file = "ui_element"

    style: Phrase = "clean vector"
    element_type: Phrase = "icon"
    states: Annotated[tuple[Phrase, ...], Field(min_length=1, max_length=8)] = ("normal",)
    primary_color: HexColor = "#4A90E2"
    accent_color: HexColor = "#F4A460"
    border_style: Phrase = "2px solid, darker shade of the primary color"
    shadow_style: Phrase = "subtle inner highlight, no drop shadow"
    icon_style: Phrase = "bold, simple silhouette"


_KINDS: dict[str, type[_Parameters]] = {"pixel_art": PixelArt, "hand_drawn": HandDrawn,
                                        "ui": UIElement}  # fmt: skip


class Wording(BaseModel):
    """A request in words. Refiners keep `subject` and `style` in whatever they make of `prompt`."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    prompt: str = Field(repr=False)
    negative_prompt: str = Field(default="", repr=False)
    subject: str = Field(repr=False)
    style: str


def template_kind(
    request: AssetRequest, guide: StyleGuide
) -> Literal["pixel_art", "hand_drawn", "ui"]:
    """Return which template words a request: a UI category, else the guide's art style.

    Raises:
        UnsupportedRequest: an art style without template; the message lists those there are.
    """
    style = STYLE_ALIASES.get(guide.style_key, guide.style_key)
    if style == "ui" or request.category.casefold() in UI_CATEGORIES:
        return "ui"
    if style == "pixel_art":
        return "pixel_art"
    if style == "hand_drawn":
        return "hand_drawn"
    raise UnsupportedRequest(
        "There is no prompt template for the style guide's artStyle.",
        remedy=f"Known art styles: {', '.join(_KINDS)}.",
    )


def worded(
    request: AssetRequest, guide: StyleGuide, *, alpha: Literal["drawn", "keyed"] = "keyed"
) -> Wording:
    """Return the prompt for a request under a style guide, and what to avoid.

    Args:
        request: What is to be seen.
        guide: How it is to look.
        alpha: Whether the model draws transparency itself ("drawn") or a flat background is cut
            out afterwards ("keyed"). No Google image model draws alpha, and asked for it they
            paint a checkerboard (facts/genai.md, section 2; mission row A5).

    Raises:
        UnsupportedRequest: no template for this art style, or wrong `parameters`.
    """
    kind = template_kind(request, guide)
    parameters = _parameters(_KINDS[kind], request, guide)
    shelf = shelf_file(parameters.file)
    template = shelf["template"]
    values = {
        "subject": request.description,
        "purpose": request.purpose,
        "width": str(request.size.width),
        "height": str(request.size.height),
        "background": _background(guide, parameters, alpha),
        **_gap_values(parameters),
    }
    shared = {"mood": guide.mood, "color_palette": ", ".join(guide.color_palette)}
    left_out = [(n, v) for n, v in shared.items() if v and n not in gaps(template)]
    avoid = [line for line in shelf["avoid"] if _holds(line, guide)]
    prompt = "\n\n".join([
        filled(template, values),
        *(f"{name.replace('_', ' ').upper()}: {value}" for name, value in left_out),
        f"{shelf['avoid_heading']}:\n" + "\n".join(f"- {line}" for line in avoid),
    ])  # fmt: skip
    return Wording(
        prompt=prompt,
        negative_prompt=negative_prompt(request, guide),
        subject=request.description,
        style=shelf["style"],
    )


def key_color(palette: tuple[str, ...]) -> str:
    """Return the background colour that is farthest, in RGB, from every colour of the palette."""

    def nearest(candidate: str) -> int:
        return min((_distance(candidate, color) for color in palette), default=0)

    return max(KEY_COLORS, key=nearest)


def ordered_key(request: AssetRequest, guide: StyleGuide) -> str:
    """Return the flat background colour that the prompt of a request asks for.

    Raises:
        UnsupportedRequest: no template for this art style, or wrong `parameters`.
    """
    return _key(guide, _parameters(_KINDS[template_kind(request, guide)], request, guide))


def _key(guide: StyleGuide, parameters: _Parameters) -> str:
    return key_color(getattr(parameters, "palette", ()) or guide.color_palette)


def _parameters(kind: type[_Parameters], request: AssetRequest, guide: StyleGuide) -> _Parameters:
    own = dict(request.parameters)
    from_guide = {n: v for n, v in _of_guide(guide).items() if n in kind.model_fields}
    try:
        return kind.model_validate({**from_guide, **own})
    except ValidationError as error:
        told = told_without_input(error, kind)
    raise UnsupportedRequest(
        f"The parameters of asset {request.description_digest} do not fit its template: {told}.",
        remedy=f"The {kind.file} template takes {', '.join(kind.model_fields)}.",
    )


def _of_guide(guide: StyleGuide) -> dict[str, Any]:
    """Return what a style guide says about templates' gaps; what it leaves out is absent."""
    said: dict[str, Any] = {"pixel_density": guide.pixel_density}
    if guide.mood:
        said["mood"] = guide.mood[:300]
    if guide.color_palette:
        said["palette"] = guide.color_palette
        said["primary_color"] = guide.color_palette[0]
        said["accent_color"] = guide.color_palette[-1]
    if "max_colors" in guide.constraints.model_fields_set:
        said["palette_size"] = guide.constraints.max_colors
    if STYLE_ALIASES.get(guide.style_key, guide.style_key) not in {"ui"}:
        said["style"] = guide.art_style.replace("_", " ")
    return said


def _gap_values(parameters: _Parameters) -> dict[str, str]:
    """Return the parameters as words."""
    values = {
        name: ", ".join(value) if isinstance(value, tuple) else str(value)
        for name, value in parameters
    }
    palette = values.get("palette") or "Vibrant, saturated colors; few of them"
    values["color_palette"] = palette
    if isinstance(parameters, PixelArt):
        values["palette_size"] = str(parameters.palette_size or len(parameters.palette))
    return values


def _background(
    guide: StyleGuide, parameters: _Parameters, alpha: Literal["drawn", "keyed"]
) -> str:
    if not guide.constraints.transparent_background:
        return "simple, fitting the subject, calm enough to read the silhouette"
    if alpha == "drawn":
        return "TRANSPARENT (alpha channel)"
    key = _key(guide, parameters)
    return f"one perfectly flat {key} color, no pattern, no checkerboard, no shadow on it"


def _holds(line: str, guide: StyleGuide) -> bool:
    return guide.constraints.no_text or not line.startswith("Text")


def _distance(one: str, other: str) -> int:
    pairs = ((int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return sum((a - b) ** 2 for a, b in pairs)
