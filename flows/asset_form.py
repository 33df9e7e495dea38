"""The form of the asset flow: what each parameter looks like in the Prefect UI, and its bounds."""

from decimal import Decimal
from typing import Annotated

from flows.form import tab, titled
from imagemill.animation.order import MAX_FRAMES
from imagemill.asset.order import MAX_ASSETS, MOST_ITERATIONS
from imagemill.asset.request import AssetRequest, StyleGuide
from imagemill.pack.order import Pack

AssetRequests = Annotated[
    list[AssetRequest],
    titled(
        "Assets",
        min_length=1,
        max_length=MAX_ASSETS,
        examples=[
            [
                {
                    "id": "player_001",
                    "category": "sprite",
                    "name": "player_idle",
                    "description": "a small round monster, cute",
                    "size": {"width": 512, "height": 512},
                    "purpose": "player character",
                }
            ]
        ],
    ),
]
Guide = Annotated[StyleGuide, titled("Style guide")]
TargetScore = Annotated[float, titled("Target score", ge=0, le=100)]
MaxIterations = Annotated[int, titled("Most pictures per asset", ge=1, le=MOST_ITERATIONS)]
Judge = Annotated[
    str,
    titled(
        "Judge",
        tab("Built in", "string", enum=["auto", "pixels", "gemini", "openai"]),
        tab("By name", "string"),
        max_length=200,
        examples=["auto", "pixels", "gemini:gemini-3.5-flash-lite", "openai/studio"],
    ),
]
Refiner = Annotated[
    str,
    titled(
        "Refiner",
        tab("Built in", "string", enum=["auto", "rules", "gemini", "openai"]),
        tab("By name", "string"),
        max_length=200,
    ),
]
Segmenter = Annotated[
    str,
    titled(
        "Segmenter",
        tab("Built in", "string", enum=["auto", "none", "u2netp"]),
        tab("By name", "string"),
        max_length=200,
        examples=["auto", "rembg:isnet-general-use"],
    ),
]
OutputFolder = Annotated[str, titled("Output folder", min_length=1, max_length=1_000)]
KeepIntermediate = Annotated[bool, titled("Keep every iteration")]
PointWorth = Annotated[
    Decimal | None,
    titled(
        "Worth of a point (USD)",
        tab("Never mind", "null"),
        tab("At most", "number", minimum=0),
        ge=0,
        le=1_000,
    ),
]
PackText = Annotated[
    str | Pack,
    titled("Pack", tab("YAML", "string"), tab("Fields", "object")),
]
OneAsset = Annotated[AssetRequest, titled("Figure")]
FrameCount = Annotated[int, titled("Frames", ge=3, le=MAX_FRAMES)]
Motion = Annotated[str, titled("Motion", min_length=1, max_length=200)]
Poses = Annotated[
    list[str] | None,
    titled("Poses", tab("Free", "null"), tab("List", "array", items={"type": "string"})),
]
FrameTime = Annotated[int, titled("Time of a frame (ms)", ge=10, le=10_000)]
MaxRedos = Annotated[int, titled("Times a frame is redone", ge=0, le=10)]
OwnTarget = Annotated[
    float | None,
    titled(
        "Target score", tab("The pack's", "null"), tab("At", "number", minimum=0, maximum=100),
        ge=0, le=100,
    ),
]  # fmt: skip
OwnIterations = Annotated[
    int | None,
    titled(
        "Most pictures per asset", tab("The pack's", "null"),
        tab("At most", "integer", minimum=1, maximum=MOST_ITERATIONS), ge=1, le=MOST_ITERATIONS,
    ),
]  # fmt: skip
