"""Making the next prompt from what was wrong with the last picture: what a refiner is, and by rules."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from imagemill.artifact import text_digest
from imagemill.asset.template import Wording
from imagemill.errors import UnsupportedRequest

MAX_REFINED_CHARS = 8_000
"""Longest prompt a refiner returns; the longest first prompt a template makes has some 6,000."""

MAX_CORRECTIONS = 6
MAX_CORRECTION_CHARS = 300
"""Two judgements' worth of suggestions: older ones have had their chance."""

HEADING = "CORRECTIONS (the last pictures were wrong in this; everything above still holds):"

_FROZEN = ConfigDict(frozen=True, hide_input_in_errors=True)


class Feedback(BaseModel):
    """What was wrong with the last picture, the most important first.

    `suggestions` are a judgement's, or failed checks' remedies; `failed_attempts` is a count.
    """

    model_config = _FROZEN

    suggestions: tuple[str, ...] = Field(default=(), repr=False)
    failed_attempts: int = Field(default=1, ge=0)


class Refined(BaseModel):
    """The next prompt. `by` is a model's name, or `rules`."""

    model_config = _FROZEN

    prompt: str = Field(repr=False)
    by: str
    cost_usd: Decimal = Field(default=Decimal(0), ge=0)


class Refiner(Protocol):
    """Improves a prompt from feedback; subject and style stay, and it stays within a length."""

    name: str

    async def refine(self, first: Wording, current: str, feedback: Feedback) -> Refined:
        """Return the next prompt; never retried inside.

        Args:
            first: The request in words, as the template made it.
            current: The prompt of the last picture.
            feedback: What was wrong with it.

        Raises:
            UnsupportedRequest: the first prompt alone is longer than the bound.
            ProviderError: or one of its family: nobody refined; retry if it says so.
        """
        ...


class RuleRefiner:
    """Puts the remedies under the first prompt, newest first. Deterministic, free, offline.

    Args:
        max_chars: Longest prompt; at most the model's own limit.
    """

    name = "rules"

    def __init__(self, *, max_chars: int = MAX_REFINED_CHARS) -> None:
        self.max_chars = max_chars

    async def refine(self, first: Wording, current: str, feedback: Feedback) -> Refined:
        """Refine once; see `Refiner`."""
        prompt = corrected(first, current, feedback.suggestions, max_chars=self.max_chars)
        return Refined(prompt=prompt, by=self.name)


def corrected(first: Wording, current: str, suggestions: Sequence[str], *, max_chars: int) -> str:
    """Return the first prompt with corrections below: the new ones, then those `current` had.

    At most `MAX_CORRECTIONS` lines, each once; what does not fit in `max_chars` is left out. The
    first prompt is kept whole, so subject and style cannot get lost.

    Raises:
        UnsupportedRequest: the first prompt alone is longer.
    """
    if len(first.prompt) > max_chars:
        raise UnsupportedRequest(
            f"Prompt {text_digest(first.prompt)} has {len(first.prompt):,} characters, at most "
            f"{max_chars:,} are allowed.",
            remedy="Shorten the description or the parameters.",
        )
    lines = [" ".join(text.split())[:MAX_CORRECTION_CHARS] for text in suggestions]
    lines += _corrections_in(current)
    kept = [line for line in dict.fromkeys(lines) if line][:MAX_CORRECTIONS]
    while kept:
        prompt = f"{first.prompt}\n\n{HEADING}\n" + "\n".join(f"- {line}" for line in kept)
        if len(prompt) <= max_chars:
            return prompt
        kept.pop()
    return first.prompt


def _corrections_in(prompt: str) -> list[str]:
    """Return the corrections at the end of a prompt; the last heading counts."""
    _, found, below = prompt.rpartition(HEADING)
    return [line.removeprefix("- ") for line in below.strip().splitlines()] if found else []
