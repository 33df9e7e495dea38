"""What a caller asks for: one asset, and the style guide that a pack of them shares.

The document's names (003, section 8.2) are the aliases; snake_case is taken too. Validation errors
never echo their input, because the input is prompt text.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from imagemill.artifact import text_digest
from imagemill.bounds import ASPECT_RATIOS
from imagemill.errors import RequestError

DEFAULT_SIDE_PX = 512
"""The document's `ImageGenerationConfig.size` (003, section 2.2)."""

MIN_SIDE_PX, MAX_SIDE_PX = 8, 4096
"""An icon of 8 pixels to the largest picture a hosted model makes (facts/genai.md, section 2)."""

MAX_COLORS = 64
"""What the document still calls pixel art (003, section 4.2)."""

_FROZEN = ConfigDict(
    frozen=True, hide_input_in_errors=True, extra="forbid", validate_by_name=True,
    validate_by_alias=True,
)  # fmt: skip


def _said(words: str) -> ConfigDict:
    """Return the settings of a value, with what a form says of it in the place of the docstring."""
    return ConfigDict(**_FROZEN, json_schema_extra={"description": words})


_NAME = re.compile(r"\w(?:[\w .-]{0,78}\w)?")
_HEX = re.compile(r"#[0-9A-F]{6}")
_DENSITY = re.compile(r"[1-9]\d{0,3}x[1-9]\d{0,3}")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(10))}


def _path_part(value: str) -> str:
    reserved = value.partition(".")[0].casefold() in _RESERVED
    if not _NAME.fullmatch(value) or ".." in value or reserved:
        raise ValueError(
            "is part of a file name: letters, digits, '-', '_', '.' and blanks inside, at most 80, "
            "and none of the device names of Windows (CON, NUL, COM1 …)"
        )
    return value


def _color(value: str) -> str:
    upper = value.strip().upper()
    if not _HEX.fullmatch(upper):
        raise ValueError('is a colour like "#2D2D2D"')
    return upper


PathPart = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_path_part)]
HexColor = Annotated[str, AfterValidator(_color)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
Short = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]


class AssetSize(BaseModel):
    """Width and height of the delivered picture, in pixels."""

    model_config = _said("Width and height of the delivered picture, in pixels.")

    width: Annotated[int, Field(ge=MIN_SIDE_PX, le=MAX_SIDE_PX)] = DEFAULT_SIDE_PX
    height: Annotated[int, Field(ge=MIN_SIDE_PX, le=MAX_SIDE_PX)] = DEFAULT_SIDE_PX

    @model_validator(mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:  # noqa: ANN401 - anything may come in
        if isinstance(value, (list, tuple)) and len(value) == 2:
            return {"width": value[0], "height": value[1]}
        if not isinstance(value, (dict, AssetSize)):
            raise ValueError(
                'is a width and a height in pixels; in a pack 256 or "256x128" will do'
            )
        return value

    @property
    def aspect_ratio(self) -> str:
        """The nearest ratio a model can be asked for; the cut-out is fitted to the exact size."""
        wanted = self.width / self.height

        def distance(ratio: str) -> float:
            width, height = map(int, ratio.split(":"))
            return max(wanted * height / width, width / (wanted * height))

        return min(ASPECT_RATIOS, key=distance)


class AssetRequest(BaseModel):
    """One asset as the caller describes it.

    Attributes:
        category: Folder of the result, and what the negative prompt and the template look at.
        name: File name of the result, without suffix.
        description: What the picture shows, in the caller's words.
        purpose: What the game does with it.
        parameters: Values for the template's gaps; see `imagemill.asset.template`.
    """

    model_config = _said("One asset: what it shows and where its file goes.")

    id: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=120),
        Field(title="Id", description="Yours; the result has it as requestId."),
    ]
    category: Annotated[
        PathPart, Field(description="Folder of the file: sprite, item, ui, background, …")
    ] = "sprite"
    name: Annotated[PathPart, Field(description="File name, without suffix.")]
    description: Annotated[Words, Field(repr=False, description="What the picture shows.")]
    size: AssetSize = AssetSize()
    purpose: Annotated[Short, Field(repr=False, description="What the game does with it.")] = (
        "game asset"
    )
    parameters: Annotated[
        dict[str, str | int | tuple[str, ...]],
        Field(
            max_length=20,
            repr=False,
            description="Values for the template, such as pose or facing_direction.",
        ),
    ] = Field(default_factory=dict)

    @property
    def description_digest(self) -> str:
        """First 12 hex digits of the description's sha256: how logs and errors speak of it."""
        return text_digest(self.description)


class Constraints(BaseModel):
    """What every asset of a pack must keep to."""

    model_config = _said("What every asset must keep to.")

    max_colors: Annotated[int, Field(alias="maxColors", title="Most colours", ge=2, le=256)] = (
        MAX_COLORS
    )
    no_text: Annotated[bool, Field(alias="noText", title="No text")] = True
    transparent_background: Annotated[
        bool, Field(alias="transparentBackground", title="Transparent background")
    ] = True


class StyleGuide(BaseModel):
    """The look that the assets of a pack share.

    Attributes:
        art_style: `pixel_art`, `hand_drawn` or `ui`, in any spelling; for a UI element of a game
            also the name of that game's look.
        color_palette: Colours `#RRGGBB`, most used first; empty leaves them to the template.
        pixel_density: Base unit of pixel art, width x height.
    """

    model_config = _said("The look that the assets share.")

    art_style: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=60),
        Field(alias="artStyle", title="Art style", description="pixel_art, hand_drawn or ui."),
    ] = "pixel_art"
    color_palette: Annotated[
        tuple[HexColor, ...],
        Field(
            alias="colorPalette",
            title="Palette",
            description="Colours such as #2D2D2D; pixel art is snapped to them.",
            max_length=MAX_COLORS,
        ),
    ] = ()
    pixel_density: Annotated[
        str,
        Field(alias="pixelDensity", title="Pixel density", description="Such as 32x32."),
    ] = "32x32"
    mood: Annotated[Short, Field(repr=False)] = ""
    constraints: Constraints = Constraints()

    @field_validator("pixel_density")
    @classmethod
    def _width_by_height(cls, value: str) -> str:
        if not _DENSITY.fullmatch(value):
            raise ValueError('is width x height, like "32x32"')
        return value

    @property
    def style_key(self) -> str:
        """The art style as files and tables name it: `Pixel Art` is `pixel_art`."""
        return re.sub(r"[\s-]+", "_", self.art_style.casefold())

    def to_json(self) -> dict[str, Any]:
        """Return the guide in the document's names."""
        return self.model_dump(mode="json", by_alias=True)


_Value = TypeVar("_Value", bound=BaseModel)


def checked(kind: type[_Value], data: object, *, what: str) -> _Value:
    """Return `data` as a `kind`, or say at the door what is wrong with it.

    Args:
        kind: A frozen value of this module.
        data: As it came: a mapping, or a `kind` already.
        what: How the message calls it, e.g. `requests[3]`.

    Raises:
        RequestError: names every wrong field and what is allowed there, never what was given.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        told = told_without_input(error, kind)
    # Raised outside the handler: pydantic's error holds the input, and so would `__context__`.
    raise RequestError(f"{what} cannot be used: {told}.", remedy="Correct the fields named.")


def told_without_input(error: ValidationError, kind: type[BaseModel]) -> str:
    """Return what a validation found, field by field; unknown names are counted, not repeated."""
    found: dict[str, None] = {}
    for each in error.errors(include_input=False, include_context=False, include_url=False):
        if each["type"] == "extra_forbidden":
            names = ", ".join(_names(kind))
            found[f"a field that is not known (known here: {names} and theirs)"] = None
            continue
        where = ".".join(_known(part, kind) for part in each["loc"]) or "it"
        found[f"{where}: {each['msg'].removeprefix('Value error, ')}"] = None
    return "; ".join(found)


def _names(kind: type[BaseModel]) -> Mapping[str, str]:
    return {field.alias or name: name for name, field in kind.model_fields.items()}


def _known(part: int | str, kind: type[BaseModel]) -> str:
    """Return a part of a field's path; a key of the caller's own dict is not one of ours."""
    ours = isinstance(part, int) or (part.isidentifier() and part in _VOCABULARY | {*_names(kind)})
    return str(part) if ours else "…"


_VOCABULARY = frozenset(
    spelling
    for kind in (AssetSize, AssetRequest, Constraints, StyleGuide)
    for name, field in kind.model_fields.items()
    for spelling in (name, field.alias or name)
)
