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
    MAX_SAMPLES,
)

MAX_SEED = 2**31 - 1
MAX_REFERENCES = 14


def titled(
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


def tab(title: str, kind: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON Schema
    """Return one way to fill a field in; its title is the tab's."""
    return {"title": title, "type": kind, **more}


StyleName = Annotated[
    str,
    titled(
        "Style",
        tab("From the shelf", "string", enum=list(shelf())),
        tab("Your own", "string"),
        min_length=1,
        max_length=60,
    ),
]
MaxConcurrent = Annotated[int, titled("At once", ge=1, le=MAX_CONCURRENT)]
ProviderName = Annotated[
    str,
    titled(
        "Provider",
        tab("Built in", "string", enum=list(KINDS)),
        tab("Saved block", "string"),
        examples=["gemini", "sketch", "gemini/team"],
    ),
]
ModelName = Annotated[str, titled("Model", max_length=200)]
StoreName = Annotated[str, titled("Store", max_length=200)]
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
    titled("Aspect ratio"),
]
Size = Annotated[Literal["", "256", "512", "1K", "2K", "4K"], titled("Size")]
Seed = Annotated[
    int | None,
    titled(
        "Seed",
        tab("Any", "null"),
        tab("Fixed", "integer", minimum=0, maximum=MAX_SEED),
        ge=0,
        le=MAX_SEED,
    ),
]
Samples = Annotated[int, titled("Images per prompt", ge=1, le=MAX_SAMPLES)]
NegativePrompt = Annotated[str, titled("Avoid", max_length=4_000)]
SafetyLevel = Annotated[
    Literal["block_none", "block_few", "block_some", "block_most"], titled("Safety filter")
]
References = Annotated[
    list[str] | None,
    titled(
        "Reference images",
        tab("None", "null"),
        tab("List", "array", items={"type": "string"}, maxItems=MAX_REFERENCES),
        max_length=MAX_REFERENCES,
    ),
]
Webhook = Annotated[str, titled("Webhook", max_length=2_000)]
OutputDir = Annotated[str, titled("Output folder", max_length=1_000)]
ReuseWithin = Annotated[int, titled("Reuse within (s)", ge=0, le=31_536_000)]
ResendAmbiguous = Annotated[bool, titled("Resend ambiguous")]
Budget = Annotated[
    Decimal | None,
    titled(
        "Budget (USD)",
        tab("None", "null"),
        tab("At most", "number", minimum=0),
        ge=0,
        le=MAX_BUDGET_USD,
    ),
]
DryRun = Annotated[bool, titled("Dry run")]
RunName = Annotated[str, titled("Run", max_length=64)]
OnlyClasses = Annotated[
    list[str] | None,
    titled(
        "Only these failures", tab("All", "null"), tab("List", "array", items={"type": "string"})
    ),
]
Fallback = Annotated[
    list[str] | None,
    titled(
        "Fallback",
        tab("None", "null"),
        tab("List", "array", items={"type": "string"}, maxItems=MAX_FALLBACK),
        max_length=MAX_FALLBACK,
        examples=[["gemini/backup", "sketch"]],
    ),
]
StyleLock = Annotated[bool, titled("Style lock")]
