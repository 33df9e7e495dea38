"""[text + user input] → keywords (a model, or rules) → look → prompt without writing in it (X7)."""

from decimal import Decimal

from pydantic import BaseModel, ConfigDict, ValidationError

from imagemill.artifact import text_digest
from imagemill.errors import AnswerLost, ContentBlocked, RequestError
from imagemill.prompt import find_style
from imagemill.style_router.rules import keywords_by_rules, table, without_denied
from imagemill.style_router.values import (
    MAX_KEYWORDS,
    MAX_TEXT_CHARS,
    MAX_USER_INPUT_CHARS,
    Branch,
    Keywords,
    RoutedPrompt,
)
from imagemill.style_router.writing import (
    NO_TEXT,
    TEXT_WORDS,
    is_about_writing,
    without_writing,
)
from imagemill.words import Words

__all__ = ["Branch", "Keywords", "RoutedPrompt", "StyleRouter"]

STYLE_OF: dict[Branch, str] = {
    "realistic": "Photorealistic",
    "anime": "Anime",
    "illustration": "Storybook",
}
"""The style of the shelf that words each look."""

MAX_SUBJECT_CHARS = 1_200
"""What of a text goes into the prompt when rules found the keywords."""

RULES = "rules"


class Found(BaseModel):
    """The response schema: what a model is asked for."""

    model_config = ConfigDict(hide_input_in_errors=True)

    style: Branch
    purpose: str
    keywords: list[str]


class StyleRouter:
    """Makes a prompt of a text in any language.

    Args:
        words: The model that finds the keywords; None works by rules, free and offline.
    """

    def __init__(self, words: Words | None = None) -> None:
        self._words = words

    async def route(self, text: str, user_input: str = "") -> RoutedPrompt:
        """Return the prompt for a text and what the person asks for.

        A model's answer that is blocked, lost, cut or not of the schema costs what it costs, and
        the rules stand in; `by` and `note` say so.

        Args:
            text: 1 to `MAX_TEXT_CHARS` characters, in any language.
            user_input: Wishes about the picture, at most `MAX_USER_INPUT_CHARS` characters.

        Raises:
            RequestError: nothing to be seen is left, or too much.
            ProviderError: or one of its family: nobody answered; retry if it says so.
        """
        seen, wished = _checked(text, user_input)
        note, cost_usd = "No model is configured: found by rules, word by word.", Decimal(0)
        if self._words is not None:
            found, by, cost_usd = await self._asked(self._words, seen, wished)
            if found is not None:
                return _routed(found, ", ".join(found.keywords), by=by, cost_usd=cost_usd)
            note = "The model's answer was of no use: found by rules, word by word."
        found = keywords_by_rules(seen, wished)
        subject = _subject_by_rules(found, seen, wished)
        routed = _routed(found, subject, by=RULES, cost_usd=cost_usd)
        return routed.model_copy(update={"note": note})

    async def _asked(
        self, words: Words, text: str, user_input: str
    ) -> tuple[Keywords | None, str, Decimal]:
        """Return keywords, or None; the model's name; and the bill."""
        # Whatever the words are, they cannot close the tags around them.
        told, wishes = text.replace("</", "< /"), user_input.replace("</", "< /")
        prompt = f"{table()['question']}\n<text>\n{told}\n</text>\n<wishes>\n{wishes}\n</wishes>"
        try:
            written = await words.write(prompt, schema=Found)
        except (ContentBlocked, AnswerLost) as error:
            return None, "", error.cost_usd
        found = _keywords(written.text) if written.whole else None
        return found, written.model, written.cost_usd


def _keywords(text: str) -> Keywords | None:
    """Return a model's answer without what it wants written; None when nothing usable is left."""
    try:
        found = Found.model_validate_json(text)
    except ValidationError:
        return None
    told = (without_writing(each)[:80].strip() for each in found.keywords)
    kept = [each for each in dict.fromkeys(told) if each and not is_about_writing(each)]
    purpose = without_writing(found.purpose)[:200]
    if not kept:
        return None
    return Keywords(
        style=found.style,
        purpose="" if is_about_writing(purpose) else purpose,
        keywords=tuple(kept[:MAX_KEYWORDS]),
    )


def _checked(text: str, user_input: str) -> tuple[str, str]:
    if len(text) > MAX_TEXT_CHARS or len(user_input) > MAX_USER_INPUT_CHARS:
        raise RequestError(
            f"Text {text_digest(text)} has {len(text):,} characters and {len(user_input):,} of "
            f"wishes; {MAX_TEXT_CHARS:,} and {MAX_USER_INPUT_CHARS:,} are allowed.",
            remedy="Send the part that is to be seen.",
        )
    seen, wished = without_writing(text), without_writing(user_input)
    if not seen and not wished:
        raise RequestError(
            f"Text {text_digest(text)} says nothing that could be seen.",
            remedy="Describe the picture; writing is laid over it later.",
        )
    return seen, wished


def _subject_by_rules(found: Keywords, text: str, user_input: str) -> str:
    """Return the keywords and then the asker's own words: rules may have missed what matters."""
    own = ". ".join(part for part in map(without_denied, (text, user_input)) if part)
    tags = ", ".join(found.keywords)
    return f"{tags} ({own[:MAX_SUBJECT_CHARS]})" if tags else own[:MAX_SUBJECT_CHARS]


def _routed(found: Keywords, subject: str, *, by: str, cost_usd: Decimal) -> RoutedPrompt:
    style = find_style(STYLE_OF[found.style])
    purpose = f", for a {found.purpose}" if found.purpose else ""
    negatives = [*style.negative_prompt.split(", "), *TEXT_WORDS]
    return RoutedPrompt(
        prompt=f"{style.render(subject + purpose)} {NO_TEXT}",
        negative_prompt=", ".join(dict.fromkeys(filter(None, negatives))),
        branch=found.style,
        style_name=style.name,
        keywords=found.keywords,
        purpose=found.purpose,
        by=by,
        cost_usd=cost_usd,
    )
