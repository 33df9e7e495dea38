"""Keywords without a model: a table of Korean words and of what people call the three looks.

It understands single words, not sentences; whoever uses it says so (`by: "rules"`).
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, cast

from imagemill.style_router.values import BRANCHES, MAX_KEYWORDS, Branch, Keywords

USER_INPUT_WEIGHT = 3
"""What a person asks for now outweighs what the text happens to mention (002, section 6.2)."""

DEFAULT_BRANCH: Branch = "realistic"
"""The document's only look so far (002, section 6.1)."""

_HANGUL = re.compile(r"[가-힣]+")
_NOT_AFTER = re.compile(r"^[가-힣]{0,4}\s?[가-힣]{0,3}\s?(?:말고|아니|아닌|대신|빼고|싫|않|없이)")
_NOT_BEFORE = re.compile(r"(?:\bnot?|\bnever|\bwithout|n't)\s+(?:an?\s+|in\s+)?$")


@cache
def table() -> Mapping[str, Any]:
    """Return `rules.toml`."""
    file = resources.files("imagemill.style_router") / "rules.toml"
    return tomllib.loads(file.read_text("utf-8"))


def keywords_by_rules(text: str, user_input: str = "") -> Keywords:
    """Return what the rules understand of a text and of what the person asks for.

    Args:
        text: In any language; Korean words of the table become English keywords.
        user_input: Wishes about the picture; they outweigh the text.
    """
    both = f"{user_input}\n{text}"
    found = dict.fromkeys(korean_keywords(both))
    return Keywords(
        style=branch_by_rules(text, user_input),
        purpose=_purpose(both),
        keywords=tuple(found)[:MAX_KEYWORDS],
    )


def branch_by_rules(text: str, user_input: str = "") -> Branch:
    """Return the look that is named most; "not a photo" and "사진 말고" count against it."""
    scores = {
        branch: USER_INPUT_WEIGHT * _hints(user_input, branch) + _hints(text, branch)
        for branch in BRANCHES
    }
    top = max(scores.values())
    if top <= 0:
        return DEFAULT_BRANCH
    return next(branch for branch in BRANCHES if scores[branch] == top)


def without_denied(text: str) -> str:
    """Return `text` without the looks it denies: models draw what they are told not to draw."""
    for needles in table()["looks"].values():
        for needle in map(re.escape, needles):
            text = re.sub(
                rf"\S*{needle}[가-힣]{{0,4}}\s?(?:말고|대신|빼고|아니라|아닌)\S*", " ", text
            )
            text = re.sub(rf"(?i)\b(?:not?|never|without)\s+(?:an?\s+)?{needle}\w*", " ", text)
    return " ".join(text.split()).strip(" ,.;")


def korean_keywords(text: str) -> Iterator[str]:
    """Yield English keywords of the Korean words in a text, in its order.

    A noun counts with a particle behind it or alone, so that 눈 (snow) is not found in 눈물 (tears);
    a stem counts with any ending.
    """
    nouns, stems = table()["nouns"], table()["stems"]
    particles, alone = frozenset(table()["particles"]), table()["needs_particle"]
    for token in _HANGUL.findall(text):
        for length in range(len(token), 0, -1):
            head, tail = token[:length], token[length:]
            bare = not tail and head not in alone
            if head in nouns and (bare or tail in particles):
                yield nouns[head]
                break
            if head in stems:
                yield stems[head]
                break


def _hints(text: str, branch: Branch) -> int:
    lower = text.casefold()
    score = 0
    for needle in table()["looks"][branch]:
        for found in re.finditer(re.escape(needle), lower):
            before, after = lower[: found.start()], lower[found.end() :]
            score += -1 if _NOT_AFTER.search(after) or _NOT_BEFORE.search(before) else 1
    return score


def _purpose(text: str) -> str:
    lower = text.casefold()
    purposes = cast("Mapping[str, list[str]]", table()["purposes"])
    return next((p for p, words in purposes.items() if any(w in lower for w in words)), "")
