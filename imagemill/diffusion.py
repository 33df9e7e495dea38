"""How a diffusion model on our own machine is to draw: what the asker may set, and what came of it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from imagemill.artifact import Digest

Sampler = Literal["euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "dpmpp_2m_sde_karras"]
Control = Literal["none", "canny", "depth"]

MAX_STEPS = 150
MAX_LORAS = 4

Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]
Guidance = Annotated[float, Field(ge=0, le=30)]
Scale = Annotated[float, Field(ge=0, le=2)]
Strength = Annotated[float, Field(gt=0, le=1)]

_FROZEN = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")


class DiffusionWish(BaseModel):
    """What an asker may set; None leaves it to the checkpoint's own settings.

    Attributes:
        steps: Denoising steps, 1 to 150.
        guidance: Classifier-free guidance scale, 0 to 30; at 1 and below the negative prompt is unused.
        sampler: Name of the sampler with its schedule.
        control: What of a reference image is kept: its edges, its depth, or none of it.
        control_scale: How firmly, 0 to 2.
        strength: How much of a reference image is drawn anew, above 0 to 1 (image to image); None
            starts from noise.
        loras: Names of configured LoRAs, each with `:WEIGHT` after it if not 1.
    """

    model_config = _FROZEN

    steps: Steps | None = None
    guidance: Guidance | None = None
    sampler: Sampler | None = None
    control: Control | None = None
    control_scale: Scale | None = None
    strength: Strength | None = None
    loras: Annotated[tuple[str, ...], Field(max_length=MAX_LORAS)] = ()

    def over(self, other: Self | None) -> Self:
        """Return this wish, with what it leaves open taken from `other`."""
        if other is None:
            return self
        own = self.model_dump(exclude_defaults=True)
        return other.model_copy(update=own)

    @field_validator("loras")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            LoraUse.read(each)
        return value


class LoraUse(BaseModel):
    """One LoRA and how strongly it is applied, -4 to 4."""

    model_config = _FROZEN

    name: Annotated[str, Field(min_length=1, max_length=100)]
    weight: Annotated[float, Field(ge=-4, le=4)] = 1.0

    @classmethod
    def read(cls, text: str) -> Self:
        """Return `ink:0.8` as a LoRA called ink at 0.8.

        Raises:
            ValueError: the weight is no number, or out of range.
        """
        name, _, weight = text.strip().partition(":")
        try:
            return cls(name=name.strip(), weight=float(weight) if weight else 1.0)
        except ValueError:
            raise ValueError(
                "a LoRA is NAME or NAME:WEIGHT with a weight from -4 to 4, such as ink:0.8"
            ) from None


class Diffusion(BaseModel):
    """Everything besides words, size and seed that decides a picture: part of the request key.

    Attributes:
        control: "none" without a reference image.
        strength: Set for image to image only.
        bucket: So many images are drawn in one call; a picture depends on the number, not on its
            neighbours (facts/sdxl.md, 0.4).
        weights: Digests (sha256) of the files that draw, by part: checkpoint, vae, control, and
            `lora:NAME`. Another file under the same name is another picture.
        recipe: Version of the code between words and pixels; raised when its pictures change.
    """

    model_config = _FROZEN

    steps: Steps
    guidance: Guidance
    sampler: Sampler
    control: Control = "none"
    control_scale: Scale = 1.0
    strength: Strength | None = None
    loras: tuple[LoraUse, ...] = ()
    bucket: Annotated[int, Field(ge=1, le=64)] = 1
    weights: dict[str, Digest] = Field(default_factory=dict)
    recipe: int = 1

    @model_validator(mode="after")
    def _no_lora_twice(self) -> Self:
        if len({each.name for each in self.loras}) < len(self.loras):
            raise ValueError("each LoRA is named once")
        return self
