"""What a provider is: a Protocol, its capabilities as data, and what it returns.

A request is checked against capabilities here, in one place, before money is reserved.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from imagemill.diffusion import DiffusionWish
from imagemill.errors import UnsupportedRequest
from imagemill.request import Facts, ImageRequest


class Capabilities(BaseModel):
    """What one model of a provider can do, and what it costs.

    `sizes` maps a size name ("1K") to the worst-case price in USD of one image of that size;
    None means the price is unknown, and an unknown price is refused.
    `prompt_limit_chars` is the longest rendered prompt accepted.
    `max_in_flight` bounds concurrent requests in one process; None is no bound.
    `batch_size` requests are drawn by one call. `diffusion` says whether it takes a `DiffusionWish`.
    """

    model_config = ConfigDict(frozen=True)

    provider: str
    model: str
    sizes: dict[str, Decimal | None]
    default_size: str
    aspect_ratios: tuple[str, ...]
    prompt_limit_chars: int = Field(default=32_000, ge=1)
    seed: bool = True
    negative_prompt: bool = False
    reference_images: int = Field(default=0, ge=0)
    alpha: bool = False
    safety: bool = False
    embedded: bool = False
    max_in_flight: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=1, ge=1)
    diffusion: bool = False
    timeout_s: float = Field(default=120.0, gt=0)
    retires_on: date | None = None
    price_read_on: date | None = None

    def check(self, request: ImageRequest) -> None:
        """Refuse a request this model cannot serve, before anything is paid.

        Raises:
            UnsupportedRequest: says what was asked, what is allowed and what to do.
        """
        who = f"{self.provider}/{self.model}"
        if request.size not in self.sizes:
            raise UnsupportedRequest(
                f"{who} makes sizes {', '.join(self.sizes)}; got {request.size}.",
                remedy="Choose one of them.",
            )
        if self.sizes[request.size] is None:
            raise UnsupportedRequest(
                f"The price of {who} at {request.size} is not known, so no budget could hold.",
                remedy="Choose another size or model, or add the price to your catalog file.",
            )
        if request.aspect_ratio not in self.aspect_ratios:
            raise UnsupportedRequest(
                f"{who} allows aspect ratios {', '.join(self.aspect_ratios)}; "
                f"got {request.aspect_ratio}.",
                remedy="Choose one of them.",
            )
        if len(request.prompt) > self.prompt_limit_chars:
            raise UnsupportedRequest(
                f"{who} takes prompts of up to {self.prompt_limit_chars:,} characters; prompt "
                f"{request.prompt_digest} has {len(request.prompt):,} with its style.",
                remedy="Shorten the prompt.",
            )
        if len(request.references) > self.reference_images:
            raise UnsupportedRequest(
                f"{who} takes up to {self.reference_images} reference images; "
                f"got {len(request.references)}.",
                remedy="Pass fewer references or choose another model.",
            )

    def worst_case_usd(self, request: ImageRequest) -> Decimal:
        """Return the most one attempt at this request can cost, in USD."""
        price = self.sizes[request.size]
        if price is None:
            raise UnsupportedRequest(f"The price of {self.provider}/{self.model} is not known.")
        return price


class GeneratedImage(BaseModel):
    """What came back: encoded bytes, not yet checked, and what it cost.

    `data` is PNG, JPEG or WebP. `cost_usd` is computed from the tokens the answer reports where it
    reports any. `facts` are small provider-specific notes for the manifest (no prompt text).
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    data: bytes = Field(repr=False)
    media_type: str
    cost_usd: Decimal = Field(ge=0)
    model: str
    seed: int | None = None
    facts: Facts = Field(default_factory=dict)


@runtime_checkable
class ImageProvider(Protocol):
    """What turns a request into an image.

    `generate` is one attempt, never retried inside, safe to run concurrently on one event loop,
    and raises only the `ProviderError` family, `ContentBlocked` or `UnsupportedRequest`.
    """

    name: str

    def capabilities(self, model: str = "") -> Capabilities:
        """Return what `model` can do; "" is the provider's default model.

        Raises:
            UnsupportedRequest: an unknown model; the message lists the known ones.
        """
        ...

    async def check_configuration(self) -> None:
        """Make sure that a request could be sent, without paying for one.

        Raises:
            ProviderMisconfigured: names the variable or block field to set.
        """
        ...

    async def generate(
        self, request: ImageRequest, references: Sequence[bytes] = ()
    ) -> GeneratedImage:
        """Make one image. One request on the wire at most."""
        ...

    async def aclose(self) -> None:
        """Release connections; the provider is not used afterwards."""
        ...


@runtime_checkable
class DrawsByStyle(Protocol):
    """A provider that may have a model of its own for a style."""

    def model_for(self, checkpoint: str) -> str:
        """Return the model that draws a style, by the style's `checkpoint` ("" where it names none).

        "" is the provider's default model. Asked only where nobody names a model.

        Raises:
            UnsupportedRequest: no such checkpoint; the message lists the known ones.
        """
        ...


@runtime_checkable
class Completes(Protocol):
    """A provider whose pictures depend on more than was asked: it says on what, for the key."""

    def completed(
        self, requests: Sequence[ImageRequest], wishes: Sequence[DiffusionWish | None]
    ) -> Sequence[ImageRequest]:
        """Return the requests, in order, with `diffusion` filled in.

        Called with all requests of a run before anything is paid, and with each that is thought of
        later. May read large files: it is called in a thread, save for the later ones.

        Args:
            requests: As planned.
            wishes: What the asker wants of each; None for nothing in particular.

        Raises:
            UnsupportedRequest: a wish that cannot be met.
            ProviderMisconfigured: a file that draws is missing or not what it should be.
        """
        ...


@runtime_checkable
class Ordered(Protocol):
    """A provider that draws a run sooner in another order, such as checkpoint by checkpoint."""

    def order(self, requests: Sequence[ImageRequest]) -> Sequence[int]:
        """Return the indices of the requests in the order in which they should be asked."""
        ...


@runtime_checkable
class LocalEngine(Protocol):
    """A provider that draws on this machine by an engine whose state people want to see."""

    def engine_table(self) -> list[dict[str, str]]:
        """Return what the engine did since it started: rows of `what` and `figure`."""
        ...

    def engine_progress(self) -> tuple[float, str]:
        """Return where the call under way is, 0 to 100 %, and in words with memory and queue."""
        ...
