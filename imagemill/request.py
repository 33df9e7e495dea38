"""What is asked and what came: frozen, JSON-able values that may cross a task border.

Validation errors never echo their input, because the input is prompt text.
"""

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from imagemill.artifact import Digest, text_digest
from imagemill.bounds import AspectRatio, NegativePrompt, Seed, Size
from imagemill.diffusion import Diffusion, DiffusionWish
from imagemill.rows import Row, is_left_out

MAX_PROMPT_CHARS = 32_000
MAX_PROMPTS = 10_000
MAX_CONCURRENT = 100
MAX_SAMPLES = 16
MAX_FALLBACK = 4
MAX_BUDGET_USD = Decimal(1_000_000)
"""A slip of the finger is refused; whoever needs more leaves the budget empty."""

PromptText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PROMPT_CHARS)
]
Safety = Literal["block_none", "block_few", "block_some", "block_most"]
"""How much the provider's filter refuses, in the document's words (003, line 79)."""
Facts = dict[str, str | int | float]
"""Small notes of a provider on one image, by name; units in the names, no prompt text."""

_FROZEN = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")


class ImageRequest(BaseModel):
    """One image, asked for in full: what `key` is computed from.

    Attributes:
        prompt: The final words sent to the provider, style included.
        subject: The words as the asker wrote them; the `prompt` is made from them.
        seed: Fixes the noise where the model allows it; None leaves it to the provider.
        sample: 0 for the first image of these words, 1 for another one of the same, and so on.
        references: Digests of reference images, in the order they are sent.
        diffusion: How a model on our own machine draws it; None, and in no key, for others.
    """

    model_config = _FROZEN

    provider: str
    model: str
    prompt: Annotated[str, Field(min_length=1, repr=False)]
    subject: Annotated[str, Field(repr=False)] = ""
    style: str = ""
    negative_prompt: Annotated[str, Field(repr=False)] = ""
    aspect_ratio: str = "1:1"
    size: str = "1K"
    seed: Seed | None = None
    sample: Annotated[int, Field(ge=0)] = 0
    safety: Safety = "block_few"
    references: tuple[Digest, ...] = ()
    diffusion: Annotated[Diffusion | None, Field(exclude_if=is_left_out)] = None

    @property
    def key(self) -> str:
        """The request key: sha256 of the canonical request, 64 hex digits.

        Two requests with one key are the same image; it is paid for once. `subject` and `style`
        are left out: what they do is in `prompt` already.
        """
        canonical = self.model_dump(mode="json", exclude={"subject", "style"})
        text = json.dumps({"v": 1, **canonical}, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def prompt_digest(self) -> str:
        """First 12 hex digits of the prompt's sha256: how logs and names speak of it."""
        return text_digest(self.prompt)


class BatchRequest(BaseModel):
    """A batch as a person asks for it; the parameters of the flow, checked.

    See the flow's form (`flows.batch`) for what each field means to the asker. `rows` is empty, or
    says of each prompt what it has of its own.
    """

    model_config = _FROZEN

    prompts: Annotated[
        tuple[PromptText, ...], Field(min_length=1, max_length=MAX_PROMPTS, repr=False)
    ]
    rows: Annotated[tuple[Row, ...], Field(exclude_if=is_left_out, repr=False)] = ()
    style_name: str = "Flat Corporate"
    max_concurrent: Annotated[int, Field(ge=1, le=MAX_CONCURRENT)] = 3
    provider: str = "gemini"
    model: str = ""
    store: str = "default"
    aspect_ratio: AspectRatio = "1:1"
    size: Size = ""
    seed: Seed | None = None
    samples: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] = 1
    negative_prompt: NegativePrompt = ""
    safety: Safety = "block_few"
    references: tuple[str, ...] = ()
    webhook: str = ""
    output_dir: str = ""
    reuse_within_s: Annotated[int, Field(ge=0)] = 900
    resend_ambiguous: bool = False
    max_cost_usd: Annotated[Decimal | None, Field(ge=0, le=MAX_BUDGET_USD)] = None
    fallback: Annotated[tuple[str, ...], Field(max_length=MAX_FALLBACK)] = ()
    style_lock: bool = False
    diffusion: Annotated[DiffusionWish | None, Field(exclude_if=is_left_out)] = None

    @field_validator("prompts", mode="before")
    @classmethod
    def _a_list_of_words(cls, value: Any) -> Any:  # noqa: ANN401 - anything may come in
        if isinstance(value, str):
            raise ValueError('prompts is a list of strings; put the one prompt in brackets: ["…"].')
        return value

    @model_validator(mode="after")
    def _a_row_a_prompt(self) -> Self:
        if self.rows and len(self.rows) != len(self.prompts):
            raise ValueError("rows are none, or as many as prompts.")
        return self

    @property
    def settled(self) -> tuple[Row, ...]:
        """What each prompt is made with: its row's own, and the batch's where that says nothing."""
        given = {name: getattr(self, name) for name in Row.model_fields}
        common = Row.model_construct(**given)
        if not self.rows:
            return (common,) * len(self.prompts)
        return tuple(row.over(common) for row in self.rows)

    @property
    def wishes(self) -> tuple[DiffusionWish | None, ...]:
        """What is wanted of each image's diffusion, samples of one prompt side by side."""
        return tuple(row.diffusion for row in self.settled for _ in range(self.samples))

    @property
    def digest(self) -> str:
        """sha256 of what decides the images: a crashed batch asked again has the same digest."""
        canonical = self.model_dump(
            mode="json",
            exclude={"max_concurrent", "webhook", "output_dir", "reuse_within_s", "store",
                     "resend_ambiguous", "max_cost_usd", "fallback", "style_lock"},
        )  # fmt: skip
        text = json.dumps({"v": 1, **canonical}, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class ImageResult(BaseModel):
    """What happened to one image of a batch.

    `status` is finer than `success`: `ambiguous` means the provider may have billed it and the
    answer was lost; `not_started` that nothing was sent. `cost_usd` of an ambiguous image is what
    was reserved for it. `preview_path` is a small copy on this machine. `provider` and `model` drew it, or were asked last. `seconds` is provider time for new images, 0 for reused ones.
    `facts` are a provider's own notes on a new image, such as its timings. `style_name` is said
    where the images of a batch may differ in it.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    index: int
    prompt: Annotated[str, Field(repr=False)]
    success: bool
    status: Literal["made", "reused", "failed", "ambiguous", "not_started"]
    key: str
    sample: int = 0
    style_name: Annotated[str, Field(exclude_if=is_left_out)] = ""
    provider: str = ""
    model: str = ""
    local_path: str | None = None
    preview_path: str | None = None
    url: str | None = None
    sha256: Digest | None = None
    media_type: str | None = None
    width_px: int = 0
    height_px: int = 0
    size_bytes: int = 0
    cost_usd: Decimal = Decimal(0)
    seconds: float = 0.0
    attempts: int = 0
    reused: bool = False
    seed: int | None = None
    facts: Annotated[Facts, Field(exclude_if=is_left_out)] = {}
    error: str | None = None
    error_class: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the document's result entry (B6): `local_path` on success, else `error`."""
        data = self.model_dump(mode="json", exclude={"preview_path"})
        unwanted = ("error", "error_class") if self.success else ("local_path", "url", "sha256")
        for name in unwanted:
            data.pop(name)
        return data


class BatchResult(BaseModel):
    """What happened to a batch, in input order.

    `cost_usd` is what this run spent, ambiguous images included at their reserved price;
    `saved_usd` is what reused images had cost. `seconds` runs from the first request sent to the
    last result stored. `webhook` says whether the receiver was told: a pending event is tried again.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    run_id: str
    total: int
    success_count: int
    failure_count: int
    reused_count: int = 0
    ambiguous_count: int = 0
    retried_count: int = 0
    cost_usd: Decimal = Decimal(0)
    saved_usd: Decimal = Decimal(0)
    seconds: float = 0.0
    provider: str = ""
    model: str = ""
    style_name: str = ""
    manifest_url: str | None = None
    contact_sheet_url: str | None = None
    gallery_url: str | None = None
    contact_sheet_path: str | None = None
    gallery_path: str | None = None
    webhook: Literal["none", "delivered", "pending", "dead"] = "none"
    results: tuple[ImageResult, ...] = ()

    @classmethod
    def of(cls, run_id: str, results: tuple[ImageResult, ...], **more: Any) -> Self:  # noqa: ANN401
        """Count and add up `results`; `more` are fields this method does not compute."""
        made = sum(r.success for r in results)
        return cls(
            run_id=run_id,
            total=len(results),
            success_count=made,
            failure_count=len(results) - made,
            reused_count=sum(r.reused for r in results),
            ambiguous_count=sum(r.status == "ambiguous" for r in results),
            retried_count=sum(r.attempts > 1 for r in results),
            cost_usd=sum((r.cost_usd for r in results if not r.reused), Decimal(0)),
            saved_usd=sum((r.cost_usd for r in results if r.reused), Decimal(0)),
            results=results,
            **more,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the document's result (B6) with imagemill's additions after it."""
        data = self.model_dump(mode="json", exclude={"results"})
        return {**data, "results": [result.to_json() for result in self.results]}
