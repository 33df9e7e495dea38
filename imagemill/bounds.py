"""What the fields of a request may hold, for a batch as a whole and for a row of it alike.

Validation errors never echo their input, because the input is prompt text.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

ASPECT_RATIOS = (
    "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "1:4", "4:1", "1:8", "8:1",
)  # fmt: skip
"""Every ratio some model takes (Google's image documentation, read 2026-11-21); width first."""

SIZES = ("256", "512", "1K", "2K", "4K")
"""Named sizes: the side of the square of the same area, in pixels (1K = 1024)."""


def _known_ratio(value: str) -> str:
    if value not in ASPECT_RATIOS:
        raise ValueError(f"aspect_ratio is one of {', '.join(ASPECT_RATIOS)}.")
    return value


def _known_size(value: str) -> str:
    if value and value not in SIZES:
        raise ValueError(f"size is one of {', '.join(SIZES)}, or empty for the model's own.")
    return value


AspectRatio = Annotated[str, AfterValidator(_known_ratio)]
Size = Annotated[str, AfterValidator(_known_size)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
NegativePrompt = Annotated[str, Field(max_length=4_000, repr=False)]
