"""The form: what each parameter of a flow looks like in the Prefect UI, and its bounds.

Titles are given through `json_schema_extra`, because Prefect overwrites a field's own title with
the parameter's name; descriptions come from the flow's docstring, whose backticks the UI shows.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from imagemill.prompt import shelf
from imagemill.providers import KINDS
from imagemill.request import (
    MAX_BUDGET_USD,
    MAX_CONCURRENT,
    MAX_FALLBACK,
    MAX_PROMPT_CHARS,
    MAX_PROMPTS,
    MAX_SAMPLES,
)

MAX_SEED = 2**31 - 1
MAX_REFERENCES = 14


def _titled(
    title: str,
    *tabs: dict[str, Any],
    **bounds: Any,  # noqa: ANN401 - what pydantic.Field takes
) -> Any:  # noqa: ANN401 - a pydantic FieldInfo
    """Name a field; with `tabs`, let the form offer one of several ways to fill it in.

    Tabs are for the form: between them they take every value that the parameter's type takes.
    """
    shown: dict[str, Any] = {"title": title}
    if tabs:
        shown["anyOf"] = list(tabs)
    return Field(json_schema_extra=shown, **bounds)


def _tab(title: str, kind: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON Schema
    """Return one way to fill a field in; its title is the tab's."""
    return {"title": title, "type": kind, **more}


Prompts = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS)]],
    _titled(
        "Prompts",
        min_length=1,
        max_length=MAX_PROMPTS,
        examples=[["a red fox in the snow", "a lighthouse at night"]],
    ),
]
StyleName = Annotated[
    str,
    _titled(
        "Style",
        _tab("From the shelf", "string", enum=list(shelf())),
        _tab("Your own", "string"),
        min_length=1,
        max_length=60,
    ),
]
MaxConcurrent = Annotated[int, _titled("At once", ge=1, le=MAX_CONCURRENT)]
ProviderName = Annotated[
    str,
    _titled(
        "Provider",
        _tab("Built in", "string", enum=list(KINDS)),
        _tab("Saved block", "string"),
        examples=["gemini", "sketch", "gemini/team"],
    ),
]
ModelName = Annotated[str, _titled("Model", max_length=200)]
StoreName = Annotated[str, _titled("Store", max_length=200)]
AspectRatio = Annotated[
    Literal[
        "1:1",
        "2:3",
        "3:2",
        "3:4",
        "4:3",
        "4:5",
        "5:4",
        "9:16",
        "16:9",
        "21:9",
        "1:4",
        "4:1",
        "1:8",
        "8:1",
    ],
    _titled("Aspect ratio"),
]
Size = Annotated[Literal["", "256", "512", "1K", "2K", "4K"], _titled("Size")]
Seed = Annotated[
    int | None,
    _titled(
        "Seed",
        _tab("Any", "null"),
        _tab("Fixed", "integer", minimum=0, maximum=MAX_SEED),
        ge=0,
        le=MAX_SEED,
    ),
]
Samples = Annotated[int, _titled("Images per prompt", ge=1, le=MAX_SAMPLES)]
NegativePrompt = Annotated[str, _titled("Avoid", max_length=4_000)]
SafetyLevel = Annotated[
    Literal["block_none", "block_few", "block_some", "block_most"], _titled("Safety filter")
]
References = Annotated[
    list[str] | None,
    _titled(
        "Reference images",
        _tab("None", "null"),
        _tab("List", "array", items={"type": "string"}, maxItems=MAX_REFERENCES),
        max_length=MAX_REFERENCES,
    ),
]
Webhook = Annotated[str, _titled("Webhook", max_length=2_000)]
OutputDir = Annotated[str, _titled("Output folder", max_length=1_000)]
ReuseWithin = Annotated[int, _titled("Reuse within (s)", ge=0, le=31_536_000)]
ResendAmbiguous = Annotated[bool, _titled("Resend ambiguous")]
Budget = Annotated[
    Decimal | None,
    _titled(
        "Budget (USD)",
        _tab("None", "null"),
        _tab("At most", "number", minimum=0),
        ge=0,
        le=MAX_BUDGET_USD,
    ),
]
DryRun = Annotated[bool, _titled("Dry run")]
RunName = Annotated[str, _titled("Run", max_length=64)]
OnlyClasses = Annotated[
    list[str] | None,
    _titled(
        "Only these failures", _tab("All", "null"), _tab("List", "array", items={"type": "string"})
    ),
]
Fallback = Annotated[
    list[str] | None,
    _titled(
        "Fallback",
        _tab("None", "null"),
        _tab("List", "array", items={"type": "string"}, maxItems=MAX_FALLBACK),
        max_length=MAX_FALLBACK,
        examples=[["gemini/backup", "sketch"]],
    ),
]
StyleLock = Annotated[bool, _titled("Style lock")]
