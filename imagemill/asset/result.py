"""What came of one asset, in the document's names (003, sections 6.1 and 8.1)."""

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imagemill.asset.finishing import Finish
from imagemill.asset.judgement import Judgement, Score
from imagemill.asset.request import AssetSize
from imagemill.errors import ImagemillError
from imagemill.quality import Check

_FROZEN = ConfigDict(
    frozen=True, hide_input_in_errors=True, validate_by_name=True, validate_by_alias=True,
    allow_inf_nan=False,
)  # fmt: skip

Seconds = Annotated[float, Field(ge=0)]


class AssetImage(BaseModel):
    """The delivered file. `file_size` is bytes on disk; `path` may be an object key."""

    model_config = _FROZEN

    path: str
    format: Literal["png"] = "png"
    size: AssetSize
    file_size: Annotated[int, Field(alias="fileSize", ge=1)]
    sha256: str | None = None
    url: str | None = None
    preview: str | None = None


class Iteration(BaseModel):
    """One turn of the loop.

    `score` is 0 for a picture whose judgement failed, and `judged` tells that from a bad picture.
    `cost_usd` is what it had cost when it was made, words included; `generation_time` is 0 for one that was reused.
    `sha256` names what would be delivered, `original_sha256` the picture as it came; both are kept.
    """

    model_config = _FROZEN

    iteration: Annotated[int, Field(ge=1)]
    score: Score
    generation_time: Seconds
    passed: bool
    suggestions: Annotated[tuple[str, ...], Field(repr=False)] = ()
    judged: bool = True
    cost_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    refined_by: str = "template"
    cut_out: str | None = None
    failed_checks: tuple[str, ...] = ()
    original_sha256: str = ""
    sha256: str = ""


class AssetMetadata(BaseModel):
    """How the asset came to be. `iteration`, `score`, `prompt`, `validation` are the best one's.

    Attributes:
        from_cache: Nothing was sent for it: pictures and answers were paid before.
        stopped: Why the loop ended, in one word and a sentence: `target: Score 93 of …`.
        cost_usd: What this run paid for it; 0 from the cache.
        target_score: Where the loop would have stopped: what the asker wants, or what the judge
            can give at most.
        semantic: Whether anybody looked at what the picture shows.
        checks: Every technical check of what is delivered.
    """

    model_config = _FROZEN

    total_iterations: Annotated[int, Field(ge=0)]
    iteration_history: tuple[Iteration, ...] = ()
    final_score: Score
    from_cache: bool = False
    iteration: Annotated[int | None, Field(ge=1)] = None
    score: Score | None = None
    prompt: Annotated[str | None, Field(repr=False)] = None
    validation: Annotated[Judgement | None, Field(repr=False)] = None
    stopped: str = ""
    cost_usd: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    target_score: Score | None = None
    judge: str = ""
    refiner: str = ""
    semantic: Literal["assessed", "not assessed"] = "not assessed"
    finish: Finish | None = None
    checks: tuple[Check, ...] = ()
    original_sha256: str = ""
    provider: str = ""
    model: str = ""


def _without_none(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if value is not None}


State = Literal["made", "reused", "failed", "ambiguous", "not_started"]


class AssetError(BaseModel):
    """Why there is no asset. `reason` is the error's class, `message` never holds prompt text."""

    model_config = _FROZEN

    message: str
    reason: str


class AssetResult(BaseModel):
    """One asset: an image with its metadata, or an error.

    `state` is finer than `status`: `reused` means that nothing was sent, `not_started` that the
    budget was used up or the run stopped before, `ambiguous` that a lost answer may be billed.
    """

    model_config = _FROZEN

    request_id: Annotated[str, Field(alias="requestId")]
    status: Literal["success", "failed"]
    state: State | None = None
    category: str | None = None
    name: str | None = None
    image: AssetImage | None = None
    metadata: AssetMetadata | None = None
    error: AssetError | None = None

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        whole = self.image is not None and self.metadata is not None and self.error is None
        if whole != (self.status == "success") or (self.error is None) == (self.status == "failed"):
            raise ValueError("success has image and metadata, failed has an error")
        return self

    @classmethod
    def failed(
        cls, request_id: str, error: ImagemillError, *, metadata: AssetMetadata | None = None,
        **more: Any,  # noqa: ANN401 - fields of this class
    ) -> "AssetResult":  # fmt: skip
        """Return the result of an asset that was not made; what was tried stays in `metadata`."""
        told = AssetError(message=str(error), reason=type(error).__name__)
        return cls(request_id=request_id, status="failed", metadata=metadata, error=told, **more)

    def to_json(self) -> dict[str, Any]:
        """Return the result in the document's names, without the half that does not apply."""
        data = _without_none(self.model_dump(mode="json", by_alias=True))
        if data.get("image"):
            data["image"] = _without_none(data["image"])
        return data
