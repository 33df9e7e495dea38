"""Which provider an image is asked of: the one asked for, or the next in the list of a fallback.

Decisions only; what goes over them is in `making`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from imagemill.breaker import CircuitBreaker
from imagemill.errors import (
    ImagemillError,
    NoImage,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RequestError,
)
from imagemill.ledger.bills import stepped
from imagemill.pacing import Pacer
from imagemill.providers import split_name
from imagemill.providers.base import Capabilities, ImageProvider
from imagemill.request import ImageRequest

MOST_ATTEMPTS = 5
"""How often one image is tried in all: the first time, and the four retries of its task."""

TRIES_A_ROUTE = 3
"""So often one provider may fail an image before the next one is asked. Three of five attempts:
a blip of some seconds passes, and the next provider has retries left of its own."""

FOR_THE_RUN = (ProviderMisconfigured, QuotaExhausted)
"""Every further request would fail alike: this run does not ask that provider again."""

MAY_MOVE = (ProviderUnavailable, RateLimited, NoImage, *FOR_THE_RUN)
"""Certainly no image was made, and another provider may make it. A lost answer may be one that is
billed; a refused prompt is not carried from door to door."""


@dataclass
class Route:
    """One provider that this run may ask: a model of it, or several that share pace and standing.

    Attributes:
        name: As the asker names it: `gemini`, or `gemini/team` for a saved block.
        requests: The run's images as this model is asked for them, in input order. Who thinks of
            images on the way adds them to the routes of a run alike (`ordering`).
        capabilities: Of the model that is asked unless a request names another.
        models: By name, what the other models of this provider can do that requests name.
        refused: Why this run asks it nothing more, or None.
        tries: By image, how often it failed here.
        dearness: The highest bill seen, as a multiple of the catalog's worst case; 1 or more.
        proven: Whether its newest bill stayed within what was held for it.
    """

    name: str
    provider: ImageProvider
    capabilities: Capabilities
    requests: Sequence[ImageRequest]
    pacer: Pacer
    breaker: CircuitBreaker
    models: Mapping[str, Capabilities] = field(default_factory=dict)
    refused: ImagemillError | None = None
    tries: Counter[int] = field(default_factory=Counter)
    dearness: Decimal = Decimal(1)
    proven: bool = False

    @property
    def id(self) -> str:
        """Name and model: one breaker and one pacer each."""
        return f"{self.name}/{self.capabilities.model}"

    def may_try(self, index: int) -> bool:
        """Whether this image was not given up here."""
        return self.refused is None and self.tries[index] < TRIES_A_ROUTE

    def worst_case_usd(self, index: int) -> Decimal:
        """Return what to hold for an image: the catalog's word, corrected by the bills that came."""
        return self.catalog_usd(index) * self.dearness

    def catalog_usd(self, index: int) -> Decimal:
        """Return the catalog's worst case for an image, in USD."""
        return self.capabilities_of(index).worst_case_usd(self.requests[index])

    def capabilities_of(self, index: int) -> Capabilities:
        """Return what the model that an image is asked of can do."""
        return self.models.get(self.requests[index].model, self.capabilities)

    def billed(self, index: int, usd: Decimal, *, held_usd: Decimal) -> None:
        """Remember what an image was billed: the next ones are held at no less."""
        catalog = self.catalog_usd(index)
        if usd > held_usd and catalog:
            self.dearness = max(self.dearness, stepped(usd / catalog))
        self.proven = usd <= held_usd

    def failed(self, index: int, *, attempt: int) -> None:
        """Count a failed try; on its last attempt an image has nothing left to wait for here."""
        self.tries[index] += 1 if attempt < MOST_ATTEMPTS else TRIES_A_ROUTE


def route_names(provider: str, model: str, fallback: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return (name, model) of every provider in order; `model` is the first one's.

    An entry of `fallback` is a provider's name, or `NAME:MODEL`. `gemini/default` is `gemini`.

    Raises:
        RequestError: no such kind, or one named twice.
    """
    found = [(_plain(provider), model)]
    for entry in fallback:
        name, _, its_model = entry.partition(":")
        route = (_plain(name), its_model.strip())
        if route in found:
            raise RequestError(
                f"The fallback names {entry[:60]!r} twice.",
                remedy="Name each provider once; the first one is `provider` itself.",
            )
        found.append(route)
    return tuple(found)


def _plain(name: str) -> str:
    kind, block = split_name(name)
    return kind if block == "default" else f"{kind}/{block}"


def best_route(routes: Sequence[Route], index: int) -> Route | None:
    """Return the first route that is well and has not given image `index` up, or None."""
    ready = (each for each in routes if each.may_try(index) and each.breaker.lets_through())
    return next(ready, None)


def some_route(routes: Sequence[Route], index: int) -> Route:
    """Return the best route, or the least bad: a breaker chooses, it never refuses the last one.

    With nobody else to ask, the image's own retries and pauses are what protects a provider.
    """
    best = best_route(routes, index)
    return (
        best
        or next((r for r in routes if r.may_try(index)), None)
        or next((r for r in routes if r.refused is None), routes[0])
    )
