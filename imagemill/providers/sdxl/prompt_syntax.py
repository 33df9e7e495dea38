r"""Weights in a prompt, as the checkpoints' users write them: AUTOMATIC1111's syntax, and no torch.

`(word)` x 1.1 · `[word]` / 1.1 · `(word:1.3)` · nesting multiplies · `\(` `\)` `\[` `\]` `\\` are the
characters · `BREAK` starts a new chunk. A bracket without its partner is a bracket.
Not taken: prompt editing `[from:to:when]`, `AND`, `<lora:...>`; they are words like others.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

STEP = 1.1
"""What a bracket multiplies or divides by (webui `modules/prompt_parser.py`)."""
LEAST_WEIGHT, MOST_WEIGHT = 0.01, 10.0
"""Weights beyond are taken as these: a hundred brackets would leave the range of half precision, and a
weight of 0 or below means nothing in a hidden state."""

_MARK = re.compile(
    r"(?P<escaped>\\[()\[\]\\])"
    r"|:\s*(?P<weight>[+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\)"
    r"|[()\[\]]|[^\\()\[\]:]+|[\\:]"
)
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of a prompt under one weight; its words are not in its repr.

    Attributes:
        text: The words, markup gone.
        weight: 0.01 to 10; 1 is as written.
        starts_chunk: A `BREAK` stood before it.
    """

    text: str = field(repr=False)
    weight: float = 1.0
    starts_chunk: bool = False


def parse(prompt: str) -> tuple[Piece, ...]:
    """Split a prompt into pieces of one weight each, in order; an empty prompt has none.

    Neighbours of the same weight are one piece, so a prompt without markup is one piece, unchanged.
    """
    groups: list[tuple[list[str], float, bool]] = []
    break_due = False
    for text, weight in _runs(prompt):
        if text is None:
            break_due = bool(groups)
        elif break_due or not groups or groups[-1][1] != weight:
            groups.append(([text], weight, break_due))
            break_due = False
        else:
            groups[-1][0].append(text)
    return tuple(Piece("".join(texts), weight, starts) for texts, weight, starts in groups)


def _runs(prompt: str) -> Iterator[tuple[str | None, float]]:
    """Yield texts with their weights; None stands for a BREAK."""
    marks = list(_MARK.finditer(prompt))
    partners = _partners(marks)
    open_now = {"(": [1.0], "[": [1.0]}  # products of the factors of what is open, innermost last
    for index, mark in enumerate(marks):
        if index in partners:
            factors = open_now["[" if mark[0] in "[]" else "("]
            factor = partners[index]
            if factor is None:
                factors.pop()
            else:
                factors.append(factors[-1] * factor)
            continue
        weight = _within(open_now["("][-1] * open_now["["][-1])
        text = mark[0][1:] if mark["escaped"] else mark[0]
        for part in _split_at_breaks(text):
            yield part, weight


def _partners(marks: list[re.Match[str]]) -> dict[int, float | None]:
    """Find the brackets that have a partner: for an opening one its factor, for a closing one None.

    Round and square ones are matched apart: `(a [b) c]` weighs b by both.
    """
    found: dict[int, float | None] = {}
    waiting: dict[str, list[int]] = {"(": [], "[": []}
    for index, mark in enumerate(marks):
        text = mark[0]
        if text in ("(", "["):
            waiting[text].append(index)
        elif text == "]" and waiting["["]:
            found |= {waiting["["].pop(): 1 / STEP, index: None}
        elif (text == ")" or mark["weight"]) and waiting["("]:
            factor = _within(float(mark["weight"])) if mark["weight"] else STEP
            found |= {waiting["("].pop(): factor, index: None}
    return found


def _split_at_breaks(text: str) -> Iterator[str | None]:
    """Yield the parts between BREAKs, trimmed where they touch one, and None for each BREAK."""
    parts = _BREAK.split(text)
    for index, part in enumerate(parts):
        if index:
            yield None
        after = part.lstrip() if index else part
        trimmed = after.rstrip() if index < len(parts) - 1 else after
        if trimmed:
            yield trimmed


def _within(weight: float) -> float:
    return min(MOST_WEIGHT, max(LEAST_WEIGHT, weight))
