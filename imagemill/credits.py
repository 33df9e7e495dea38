"""Who drew what, in words. Pure functions."""

from collections import Counter
from collections.abc import Iterable

from imagemill.request import BatchResult, ImageResult

_PROCEDURAL = "procedural drawing"
_KIND_BY_PROVIDER = {"sketch": _PROCEDURAL}


def provider_label(provider: str, model: str = "") -> str:
    """Return who made the images: `gemini · gemini-3`, or `sketch · procedural drawing`.

    A sketch says that it is one, so that nobody takes it for a model's work.
    """
    kind = _KIND_BY_PROVIDER.get(provider.partition("/")[0], model)
    return " · ".join(part for part in (provider, kind) if part)


def drawer(image: ImageResult) -> str:
    """Return `gemini/gemini-3`, or `gemini/team/gemini-3` for a saved block; "" for nobody."""
    return "/".join(part for part in (image.provider, image.model) if part)


def drawers(images: Iterable[ImageResult]) -> list[str]:
    """Return who drew each image that is there."""
    return [drawer(image) for image in images if image.success and image.provider]


def shares_in_words(drawn_by: Iterable[str]) -> str:
    """Return `12 by gemini/gemini-3, 3 by sketch/sketch-1`; "" when one drew them all."""
    found = Counter(drawn_by).most_common()
    words = ", ".join(f"{number:,} by {who}" for who, number in found)
    return words if len(found) > 1 else ""


def drawers_label(result: BatchResult) -> str:
    """Return everybody who drew, each as `provider_label` says it; the asked one while none is.

    Several models of one provider are said behind its name: `sdxl · RealVisXL, Animagine`.
    """
    drew = Counter((r.provider, r.model) for r in result.results if r.success and r.provider)
    models: dict[str, list[str]] = {}
    for (provider, model), _ in drew.most_common():
        models.setdefault(provider, []).append(model)
    labels = [provider_label(provider, ", ".join(names)) for provider, names in models.items()]
    return ", ".join(labels) or provider_label(result.provider, result.model)
