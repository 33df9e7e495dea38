"""The hosted models as data: what each can do, costs and until when it lives.

`catalog.toml` is the shipped table, each entry with its source and the date it was read; a user's
file of the same shape is laid over it. Prices age: the dates travel with every estimate.
"""

import tomllib
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemill.errors import RequestError, UnsupportedRequest
from imagemill.providers.base import Capabilities
from imagemill.request import ImageRequest

MILLION = Decimal(1_000_000)

ESTIMATE_MARGIN = Decimal("1.25")
"""Worst case over an unconfirmed image price. Our choice: covers one step of the token table."""

RETIREMENT_NOTICE_DAYS = 120
PRICE_AGE_LIMIT_DAYS = 120
"""Google changed an image price or model about every quarter in 2026 (changelog)."""

_DATA = ConfigDict(frozen=True, extra="forbid")


class SizePrice(BaseModel):
    """What one image of a size costs: by `tokens`, or flat in `usd`; neither is "unknown".

    `estimated` marks a price that was computed and not confirmed by a published table.
    """

    model_config = _DATA

    tokens: int | None = Field(default=None, ge=0)
    usd: Decimal | None = Field(default=None, ge=0)
    estimated: bool = False


class ModelCapabilities(Capabilities):
    """Capabilities of a model that is billed by token: a long prompt or references cost more.

    `flat_usd` is the price of the picture alone, per size; `sizes` the worst case with a short
    prompt and no references.
    """

    flat_usd: dict[str, Decimal | None] = Field(default_factory=dict)
    input_usd_per_token: Decimal = Decimal(0)
    prompt_tokens: int = 0
    reference_tokens: int = 0
    successor: str = ""

    def worst_case_usd(self, request: ImageRequest) -> Decimal:
        """Return the most one attempt at this request can normally bill, in USD.

        A prompt has at most one token per UTF-8 byte; the first `prompt_tokens` are in `sizes`.
        """
        text_bytes = len(f"{request.prompt}{request.negative_prompt}".encode())
        extra_tokens = max(0, text_bytes - self.prompt_tokens)
        extra_tokens += len(request.references) * self.reference_tokens
        return super().worst_case_usd(request) + extra_tokens * self.input_usd_per_token


class CatalogModel(BaseModel):
    """One hosted model. Prices in USD per million tokens, sizes by name ("1K").

    Attributes:
        kind: "image" makes pictures; "text" judges them.
        served_by: The doors it is reached through: an API key ("developer") or "vertex".
        method: The SDK call that serves it.
        prompt_tokens: Prompt tokens a reservation allows for; longer prompts are added.
        thinking_tokens: Thinking text a normal answer bills at most (our allowance).
        reference_tokens: Input tokens of one reference image.
        successor: What to use instead once it is retired.
        source: Where price and limits were read, on `read_on`.
    """

    model_config = _DATA

    name: str
    provider: str
    kind: Literal["image", "text"] = "image"
    served_by: tuple[Literal["developer", "vertex"], ...] = ("developer", "vertex")
    method: Literal["generate_content", "generate_images"] = "generate_content"
    sizes: dict[str, SizePrice] = Field(default_factory=dict)
    default_size: str = "1K"
    aspect_ratios: tuple[str, ...] = ()
    prompt_limit_chars: int = Field(default=32_000, ge=1)
    alpha: bool = False
    reference_images: int = Field(default=0, ge=0)
    reference_tokens: int = Field(default=0, ge=0)
    requests_per_minute: int | None = Field(default=None, ge=1)
    timeout_s: float = Field(default=120.0, gt=0)
    input_usd_per_million: Decimal = Field(default=Decimal(0), ge=0)
    text_usd_per_million: Decimal = Field(default=Decimal(0), ge=0)
    image_usd_per_million: Decimal = Field(default=Decimal(0), ge=0)
    prompt_tokens: int = Field(default=1_000, ge=0)
    thinking_tokens: int = Field(default=0, ge=0)
    retires_on: date | None = None
    successor: str = ""
    source: str
    read_on: date

    def flat_usd(self, size: str) -> Decimal | None:
        """Return the price of the picture alone, or None when it is not known."""
        price = self.sizes.get(size)
        if price is None:
            return None
        if price.usd is not None:
            return price.usd
        if price.tokens is None:
            return None
        return price.tokens * self.image_usd_per_million / MILLION

    def worst_usd(self, size: str) -> Decimal | None:
        """Return what to reserve for one image with a short prompt, or None when not known.

        Image price (times `ESTIMATE_MARGIN` when estimated) + `prompt_tokens` at the input price
        + `thinking_tokens` at the text price.
        """
        flat = self.flat_usd(size)
        if flat is None:
            return None
        margin = ESTIMATE_MARGIN if self.sizes[size].estimated else Decimal(1)
        words = (
            self.prompt_tokens * self.input_usd_per_million
            + self.thinking_tokens * self.text_usd_per_million
        )
        return flat * margin + words / MILLION

    def capabilities(self, *, max_in_flight: int | None = None) -> ModelCapabilities:
        """Return what the model can do and costs, in the words every provider speaks."""
        return ModelCapabilities(
            provider=self.provider,
            model=self.name,
            sizes={size: self.worst_usd(size) for size in self.sizes},
            flat_usd={size: self.flat_usd(size) for size in self.sizes},
            default_size=self.default_size,
            aspect_ratios=self.aspect_ratios,
            prompt_limit_chars=self.prompt_limit_chars,
            negative_prompt=True,
            reference_images=self.reference_images,
            alpha=self.alpha,
            safety=True,
            max_in_flight=max_in_flight,
            timeout_s=self.timeout_s,
            retires_on=self.retires_on,
            price_read_on=self.read_on,
            input_usd_per_token=self.input_usd_per_million / MILLION,
            prompt_tokens=self.prompt_tokens,
            reference_tokens=self.reference_tokens,
            successor=self.successor,
        )


class Catalog(BaseModel):
    """The models imagemill knows, by name."""

    model_config = ConfigDict(frozen=True)

    models: dict[str, CatalogModel]

    def named(self, provider: str, *, kind: str = "image") -> tuple[str, ...]:
        """Return the names of a provider's models of a kind, those still served first."""
        found = [m for m in self.models.values() if (m.provider, m.kind) == (provider, kind)]
        return tuple(m.name for m in sorted(found, key=lambda m: m.retires_on is not None))

    def find(self, name: str, *, provider: str, kind: str = "image") -> CatalogModel:
        """Return a model.

        Raises:
            UnsupportedRequest: the provider has no such model; the message lists those known.
        """
        known = self.named(provider, kind=kind)
        if name not in known:
            raise UnsupportedRequest(
                f"{provider} has no {kind} model {name[:80]!r}.",
                remedy=f"Known models: {', '.join(known)}. Newer ones go into your catalog file.",
            )
        return self.models[name]


def retirement_warning(model: CatalogModel | Capabilities, today: date) -> str | None:
    """Return one sentence when the model is gone or will be soon, else None."""
    if model.retires_on is None:
        return None
    name = model.name if isinstance(model, CatalogModel) else model.model
    successor = getattr(model, "successor", "")
    use = f" Use {successor}." if successor else ""
    if model.retires_on <= today:
        return f"{name} was retired on {model.retires_on}.{use}"
    if model.retires_on - today <= timedelta(days=RETIREMENT_NOTICE_DAYS):
        return f"{name} will be retired on {model.retires_on}.{use}"
    return None


def price_age_warning(capabilities: Capabilities, today: date) -> str | None:
    """Return one sentence when the price table may be out of date, else None."""
    read_on = capabilities.price_read_on
    if read_on is None or today - read_on <= timedelta(days=PRICE_AGE_LIMIT_DAYS):
        return None
    return (
        f"The price of {capabilities.model} was read on {read_on}: check it before you rely on it."
    )


def load_catalog(override: Path | None = None) -> Catalog:
    """Return the shipped catalog, with a user's file laid over it key by key.

    Raises:
        RequestError: the file is missing or not a catalog.
    """
    if override is None:
        return _shipped()
    try:
        own = tomllib.loads(override.read_text("utf-8"))
        return _catalog(_laid_over(_shipped_table(), own))
    except (OSError, ValueError) as error:  # TOML and validation errors are ValueErrors
        raise RequestError(
            f"The catalog file {override} is not usable: {_reason(error)}",
            remedy="Mend it after the example in docs/configuration.md, or unset it.",
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}."
    return str(error)


@cache
def _shipped() -> Catalog:
    return _catalog(_shipped_table())


def _shipped_table() -> dict[str, Any]:
    return tomllib.loads(resources.files("imagemill").joinpath("catalog.toml").read_text("utf-8"))


def _catalog(table: Mapping[str, Any]) -> Catalog:
    models = table.get("models", {})
    return Catalog.model_validate(
        {"models": {name: {**entry, "name": name} for name, entry in models.items()}}
    )


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _laid_over(old, value) if both and isinstance(old, dict) else value
    return merged
