"""A text model, Gemini or another, rewrites the prompt; what it leaves out of subject and style is put back."""

from decimal import Decimal

from imagemill.asset.data import as_data, filled, shelf_file
from imagemill.asset.refiner import MAX_REFINED_CHARS, Feedback, Refined, RuleRefiner
from imagemill.asset.template import Wording
from imagemill.errors import AnswerLost, ContentBlocked
from imagemill.words import PricedWords

MIN_REFINED_CHARS = 40
"""A shorter answer is a remark, not a prompt."""

MAX_SUGGESTIONS_TOLD = 10
MAX_SUGGESTION_CHARS = 600


class GeminiRefiner:
    """A `Refiner` with a text model. One paid request a refinement, by the tokens really used.

    An answer that is cut, blocked, lost or too long costs what it costs and is not used: the rules
    refine instead, and `by` says so.

    Args:
        words: The model that rewrites.
        max_chars: Longest prompt; at most the image model's own limit.
    """

    def __init__(self, words: PricedWords, *, max_chars: int = MAX_REFINED_CHARS) -> None:
        self._words = words
        self._rules = RuleRefiner(max_chars=max_chars)
        self.max_chars = max_chars
        self.name = words.name

    def worst_case_usd(self, first: Wording, current: str) -> Decimal:
        """Return the most one refinement can bill, in USD, whatever the feedback says."""
        longest = Feedback(suggestions=("x" * MAX_SUGGESTION_CHARS,) * MAX_SUGGESTIONS_TOLD)
        return self._words.worst_case_usd(self._question(first, current, longest))

    async def refine(self, first: Wording, current: str, feedback: Feedback) -> Refined:
        """Refine once; see `imagemill.asset.refiner.Refiner`."""
        fallback = await self._rules.refine(first, current, feedback)
        question = self._question(first, current, feedback)
        try:
            written = await self._words.write(question)
        except (ContentBlocked, AnswerLost) as error:
            return fallback.model_copy(update={"cost_usd": error.cost_usd})
        prompt = kept_subject(written.text, first)
        usable = written.whole and len(written.text) >= MIN_REFINED_CHARS
        if not usable or len(prompt) > self.max_chars:
            return fallback.model_copy(update={"cost_usd": written.cost_usd})
        return Refined(prompt=prompt, by=self.name, cost_usd=written.cost_usd)

    def _question(self, first: Wording, current: str, feedback: Feedback) -> str:
        told = feedback.suggestions[:MAX_SUGGESTIONS_TOLD]
        return filled(
            shelf_file("refiner")["question"],
            {
                "first": as_data(first.prompt),
                "current": as_data(current[: self.max_chars]),
                "feedback": "\n".join(f"- {as_data(text[:MAX_SUGGESTION_CHARS])}" for text in told),
                "failed_attempts": str(feedback.failed_attempts),
                "max_chars": str(self.max_chars),
            },
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._words.aclose()


def kept_subject(text: str, first: Wording) -> str:
    """Return a rewritten prompt with the lines of subject and style put before it if it lost them.

    Blanks and case do not matter in the comparison. What was put back once is found the next time,
    so lines do not pile up.
    """
    text = text.strip().removeprefix("```").removesuffix("```").strip()
    there = " ".join(text.split()).casefold()
    missing = [
        f"{heading}: {words}"
        for heading, words in (("STYLE", first.style), ("SUBJECT", first.subject))
        if " ".join(words.split()).casefold() not in there
    ]
    return "\n".join([*missing, *([""] if missing else []), text])
