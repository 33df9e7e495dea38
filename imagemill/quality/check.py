"""What a technical check says and what it is asked; imports numpy and pydantic only."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Picture = NDArray[np.uint8]
"""H x W x 4 uint8, RGB and straight (not premultiplied) alpha; an opaque picture has alpha 255."""
Mask = NDArray[np.bool_]
"""H x W bool."""

CheckName = Literal[
    "alpha_present",
    "coverage",
    "border_transparency",
    "stray_pixels",
    "checkerboard",
    "halo",
    "size",
    "colour_count",
    "palette",
    "sharpness",
    "noise",
    "blank",
    "clipped",
    "duplicate",
    "background_left",
]

OPAQUE = 128
"""Alpha from which a pixel counts as subject: more than half covered."""
MAX_COLORS = 64
"""Colours of pixel art (the document, 4.2 `check_pixel_art_quality`)."""


class Check(BaseModel):
    """The outcome of one technical check.

    Attributes:
        name: Which check.
        value: What was measured, in `unit`.
        threshold: The limit, or the (lowest, highest) value allowed. Each check's docstring says
            where it comes from.
        passed: Whether the value is allowed.
        remedy: What to do about it, one sentence; empty if passed.
        unit: `share` (0 to 1), `px`, `colours`, `levels` (of 255), `levels²` or `bits`.
    """

    model_config = ConfigDict(frozen=True)

    name: CheckName
    value: float
    threshold: float | tuple[float, float]
    passed: bool
    remedy: str = ""
    unit: str = "share"


class CheckSpec(BaseModel):
    """What an asset must be; decides which checks run.

    Attributes:
        size: Width and height in pixels, exact; None if any will do.
        pixel_art: Whether colours are counted and noise is left to that count.
        transparent: Whether the background must be transparent.
        max_colors: At most so many colours in pixel art, those of invisible pixels not counted.
        palette: Allowed colours as `#rrggbb`; empty if any will do.
        background: The flat colour `#rrggbb` that was cut away and that nothing of the subject has;
            empty if there was none such.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int] | None = None
    pixel_art: bool = False
    transparent: bool = True
    max_colors: int = Field(default=MAX_COLORS, ge=1)
    palette: tuple[str, ...] = ()
    background: str = ""


def at_least(name: CheckName, value: float, limit: float, remedy: str, *, unit: str) -> Check:
    """Return a check that passes from `limit` up."""
    return _check(name, value, limit, passed=value >= limit, remedy=remedy, unit=unit)


def at_most(name: CheckName, value: float, limit: float, remedy: str, *, unit: str) -> Check:
    """Return a check that passes up to `limit`."""
    return _check(name, value, limit, passed=value <= limit, remedy=remedy, unit=unit)


def _check(
    name: CheckName, value: float, limit: float, *, passed: bool, remedy: str, unit: str
) -> Check:
    return Check(
        name=name, value=round(float(value), 4), threshold=limit, passed=bool(passed),
        remedy="" if passed else remedy, unit=unit,
    )  # fmt: skip
