"""What an answer is billed and what a batch may cost. Money is `Decimal`, in USD."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from imagemill.catalog import (
    MILLION,
    CatalogModel,
    ModelCapabilities,
    price_age_warning,
    retirement_warning,
)
from imagemill.providers.base import Capabilities
from imagemill.request import ImageRequest


class Usage(BaseModel):
    """Tokens an answer reports, as they are billed."""

    model_config = ConfigDict(frozen=True)

    prompt_tokens: int = Field(default=0, ge=0)
    image_tokens: int = Field(default=0, ge=0)
    text_tokens: int = Field(default=0, ge=0)
    thinking_tokens: int = Field(default=0, ge=0)


class Estimate(BaseModel):
    """What a batch will cost before anything is sent.

    `min_usd` is the pictures alone, `max_usd` what is reserved: prompts, thinking and the margin
    on estimated prices included. Retries and ambiguous answers are on top; the budget holds them.
    """

    model_config = ConfigDict(frozen=True)

    provider: str
    model: str
    images: int
    paid_already: int = 0
    min_usd: Decimal
    max_usd: Decimal
    price_read_on: date | None = None
    warnings: tuple[str, ...] = ()


def bill(usage: Usage | None, model: CatalogModel, *, size: str = "") -> Decimal:
    """Return what an answer costs in USD.

    Args:
        usage: Tokens as the provider reports them; None when it reports none.
        model: Where the prices are.
        size: Size of the picture that came, "" when none did.

    With usage, each kind of token at its own price (thinking is text). Without, or for a model
    billed per picture, the flat price of the picture; nothing when there is none.
    """
    price = model.sizes.get(size)
    if usage is None or (price is not None and price.usd is not None):
        return model.flat_usd(size) or Decimal(0)
    tokens_times_price = (
        usage.prompt_tokens * model.input_usd_per_million
        + usage.image_tokens * model.image_usd_per_million
        + (usage.text_tokens + usage.thinking_tokens) * model.text_usd_per_million
    )
    return tokens_times_price / MILLION


def estimate(
    capabilities: Capabilities,
    requests: Sequence[ImageRequest],
    *,
    today: date,
    paid: Collection[str] = (),
    models: Mapping[str, Capabilities] | None = None,
) -> Estimate:
    """Return what these requests may cost; nothing is sent.

    Args:
        capabilities: Of the model that is asked unless a request names one of `models`.
        requests: What is asked for.
        today: For the age of prices, and retirements.
        paid: Keys that cost nothing any more.
        models: Other models of the provider, by name.

    Raises:
        UnsupportedRequest: the price of a size is not known.
    """
    due = [request for request in requests if request.key not in paid]
    others = models or {}
    asked = [others.get(request.model, capabilities) for request in due]
    worst = [each.worst_case_usd(request) for each, request in zip(asked, due, strict=True)]
    least = [_least_usd(each, request) for each, request in zip(asked, due, strict=True)]
    warnings = dict.fromkeys(
        warning(each, today)
        for each in (capabilities, *others.values())
        for warning in (retirement_warning, price_age_warning)
    )
    return Estimate(
        provider=capabilities.provider,
        model=capabilities.model,
        images=len(requests),
        paid_already=len(requests) - len(due),
        min_usd=sum(least, Decimal(0)),
        max_usd=sum(worst, Decimal(0)),
        price_read_on=capabilities.price_read_on,
        warnings=tuple(warning for warning in warnings if warning),
    )


def dearest(found: Sequence[Estimate]) -> Estimate:
    """Return what a batch with a fallback may cost: the cheapest route's least, the dearest's most.

    Args:
        found: One estimate a route, the asked one first; who draws is not known beforehand.
    """
    first = found[0]
    warnings = dict.fromkeys(warning for each in found for warning in each.warnings)
    return first.model_copy(
        update={
            "min_usd": min(each.min_usd for each in found),
            "max_usd": max(each.max_usd for each in found),
            "warnings": tuple(warnings),
        }
    )


def estimate_in_words(found: Estimate, *, max_cost_usd: Decimal | None = None) -> list[str]:
    """Return an estimate as lines for a person: the price first, then what to know about it."""
    due = found.images - found.paid_already
    images = f"{due} image{'' if due == 1 else 's'} of {found.model}"
    read = f"prices read {found.price_read_on}" if found.price_read_on else "drawn on this machine"
    lines = [f"{images}: ${found.min_usd:.4f} to ${found.max_usd:.4f} ({read}; nothing was sent)"]
    if found.paid_already:
        lines.append(f"{found.paid_already} of {found.images} are paid already and cost nothing.")
    if max_cost_usd is not None and found.max_usd > max_cost_usd:
        lines.append(f"The budget of ${max_cost_usd} may stop it before the last image.")
    return [*lines, *found.warnings]


def _least_usd(capabilities: Capabilities, request: ImageRequest) -> Decimal:
    known = capabilities.flat_usd if isinstance(capabilities, ModelCapabilities) else {}
    flat = known.get(request.size)
    return capabilities.worst_case_usd(request) if flat is None else flat
