"""What prompts are drawn in, and by which model: looked up before a batch is planned."""

from dataclasses import dataclass
from functools import cache

from imagemill.artifact import Digest
from imagemill.completing import model_for
from imagemill.intake import ReferenceImage
from imagemill.prompt import Style
from imagemill.providers.base import Capabilities, ImageProvider
from imagemill.request import BatchRequest
from imagemill.rows import about


@dataclass(frozen=True)
class Look:
    """A style, and the pictures to be guided by."""

    style: Style
    references: tuple[ReferenceImage, ...] = ()

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Of the references, in the order they are sent."""
        return tuple(each.digest for each in self.references)


@dataclass(frozen=True)
class Looks:
    """The look of a batch, and that of each prompt where its rows may differ from it."""

    common: Look
    own: tuple[Look, ...] = ()

    def guides(self, samples: int) -> dict[int, tuple[bytes, ...]]:
        """Return by image the references of those that have other ones than the batch."""
        return {
            number * samples + sample: tuple(each.data for each in look.references)
            for number, look in enumerate(self.own)
            if look.references != self.common.references
            for sample in range(samples)
        }


@dataclass(frozen=True)
class Terms:
    """What one prompt is drawn by at one provider: a style, a model, digests of references."""

    style: Style
    capabilities: Capabilities
    references: tuple[Digest, ...] = ()


def able(provider: ImageProvider, model: str, style: Style) -> Capabilities:
    """Return what a model can do; with "" the one that the provider has for a style.

    Raises:
        UnsupportedRequest: no such model or checkpoint.
    """
    return provider.capabilities(model or model_for(provider, style.checkpoint))


def terms_of(
    batch: BatchRequest, looks: Looks, provider: ImageProvider, *, model: str | None = None
) -> tuple[Terms, ...]:
    """Return what each prompt is drawn by; nothing where no row differs from the batch.

    Args:
        batch: Whose rows may name a model.
        looks: The looks of its prompts.
        provider: Who draws.
        model: Given, that one draws whatever rows name: their models are the first provider's.

    Raises:
        UnsupportedRequest: no such model; says which row names it.
    """
    found = cache(lambda name, style: able(provider, name, style))
    terms = []
    for number, (row, look) in enumerate(zip(batch.settled, looks.own, strict=False), start=1):
        with about(number, "model"):
            capabilities = found(row.model if model is None else model, look.style)
        terms.append(Terms(look.style, capabilities, look.digests))
    return tuple(terms)
