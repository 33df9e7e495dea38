"""The form's fields that only local SDXL has."""

from typing import Annotated, Literal

from pydantic import Field

from flows.form import tab, titled
from imagemill.diffusion import MAX_LORAS, MAX_STEPS

SdxlName = Annotated[
    str,
    titled(
        "Local SDXL",
        tab("This worker's", "string", enum=["sdxl"]),
        tab("Saved block", "string"),
        examples=["sdxl", "sdxl/tiny"],
    ),
]
SdxlRatio = Annotated[
    Literal["1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"],
    titled("Aspect ratio"),
]
SdxlSize = Annotated[Literal["", "256", "512", "1K"], titled("Size")]
ReferenceImage = Annotated[str, titled("Reference image", max_length=2_000)]
StepCount = Annotated[
    int | None,
    titled(
        "Steps",
        tab("The checkpoint's", "null"),
        tab("Fixed", "integer", minimum=1, maximum=MAX_STEPS),
        ge=1,
        le=MAX_STEPS,
    ),
]
GuidanceScale = Annotated[
    float | None,
    titled(
        "Guidance", tab("The checkpoint's", "null"), tab("Fixed", "number", minimum=0, maximum=30),
        ge=0, le=30,
    ),
]  # fmt: skip
SamplerName = Annotated[
    Literal["", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "dpmpp_2m_sde_karras"],
    titled("Sampler"),
]
ControlKind = Annotated[Literal["", "none", "canny", "depth"], titled("Keep of the reference")]
ControlScale = Annotated[
    float | None,
    titled(
        "How firmly", tab("As configured", "null"), tab("Fixed", "number", minimum=0, maximum=2),
        ge=0, le=2,
    ),
]  # fmt: skip
StrengthShare = Annotated[
    float | None,
    titled(
        "Strength",
        tab("From noise, or as configured", "null"),
        tab("Redraw this share", "number", exclusiveMinimum=0, maximum=1),
        gt=0,
        le=1,
    ),
]
Loras = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=110)]] | None,
    titled(
        "LoRAs",
        tab("None", "null"),
        tab("List", "array", items={"type": "string"}, maxItems=MAX_LORAS),
        max_length=MAX_LORAS,
        examples=[["ink:0.8"]],
    ),
]
