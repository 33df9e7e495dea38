"""From words to a brief: which subjects, in what colour and number, where and when."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from imagemill.providers.sketch.colour import Colour, parse
from imagemill.providers.sketch.drawing import vocabulary
from imagemill.providers.sketch.lexicon import (
    COLOURS,
    COUNTS,
    NEGATIONS,
    PARTICLES,
    PLACES,
    SCALES,
    SIDES,
    TIMES,
    WEATHER,
)  # fmt: skip

MAX_THINGS = 12
_TOKEN = re.compile(r"[a-z]+(?:['’]s\b)?|\d+|[가-힣]+|[.,;:!?]")
_STOPS = frozenset(".,;:!?")
_LONGEST_PHRASE = 4
_ORANGE = next(value for value, words in COLOURS.items() if words.startswith("orange"))
"""The one colour that is also a fruit, when no noun follows it."""

Meaning = tuple[str, str]
"""What a phrase is (subject, colour, count, scale, place, time, weather, side) and its value."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing to draw, `count` times."""

    name: str
    colour: Colour | None = None
    count: int = 1
    scale: float = 1.0
    side: str = ""


@dataclass(frozen=True, slots=True)
class Brief:
    """What the words ask to see."""

    subjects: tuple[Subject, ...] = ()
    place: str = ""
    time: str = "day"
    weather: str = ""
    mood: Colour | None = None

    @property
    def empty(self) -> bool:
        """Whether no word was understood."""
        return not (self.subjects or self.place or self.weather) and self.time == "day"


@cache
def _dictionary() -> dict[tuple[str, ...], tuple[Meaning, ...]]:
    tables: tuple[tuple[str, dict[str, str]], ...] = (
        ("subject", {name: entry.words for name, entry in vocabulary().items()}),
        ("colour", COLOURS),
        ("count", {str(n): words for n, words in COUNTS.items()}),
        ("scale", {str(n): words for n, words in SCALES.items()}),
        ("place", PLACES),
        ("time", TIMES),
        ("weather", WEATHER),
        ("side", SIDES),
    )
    found: dict[tuple[str, ...], tuple[Meaning, ...]] = {}
    for kind, table in tables:
        for value, words in table.items():
            for phrase in words.split(","):
                key = tuple(_TOKEN.findall(phrase.lower()))
                found[key] = (*found.get(key, ()), (kind, value))
    return found


def _stems(token: str) -> Iterator[tuple[str, bool]]:
    """Yield the forms a token may stand for, each with whether it was a plural."""
    yield token, False
    if "가" <= token[0] <= "힣":
        for particle in PARTICLES:
            if token.endswith(particle) and len(token) > len(particle):
                yield token.removesuffix(particle), particle.startswith("들")
        return
    yield re.sub(r"['’]s$", "", token), False
    if len(token) > 3 and token.endswith("s"):
        yield token[:-1], True
        yield re.sub(r"ies$", "y", token), True
        yield re.sub(r"ves$", "f", token), True
        yield re.sub(r"es$", "", token), True


def _lookup(tokens: list[str], at: int) -> tuple[int, bool, tuple[Meaning, ...]]:
    """Return how many tokens the longest known phrase at `at` has, plural or not, its meanings."""
    known = _dictionary()
    for length in range(min(_LONGEST_PHRASE, len(tokens) - at), 0, -1):
        *head, last = tokens[at : at + length]
        for stem, plural in _stems(last):
            if meanings := known.get((*head, stem)):
                return length, plural, meanings
    return 1, False, ()


class _Reader:
    """Walks the tokens once; what it has read about the next subject waits in `_next`."""

    def __init__(self) -> None:
        self.subjects: list[Subject] = []
        self.facts: dict[str, str] = {}
        self._next: dict[str, str] = {}
        self._since_subject = 99
        self._colour_seen: str | None = None

    def read(self, tokens: list[str]) -> None:
        at = 0
        while at < len(tokens):
            length, plural, meanings = _lookup(tokens, at)
            if tokens[at] in NEGATIONS:
                at += 1 + self._skipped(tokens, at + 1)
                continue
            for kind, value in meanings:
                self._take(kind, value, plural=plural, alone=not self._noun_follows(tokens, at))
            if not meanings:
                self._other(tokens[at])
            self._since_subject += 1
            at += length

    def _skipped(self, tokens: list[str], at: int) -> int:
        return next((n for n in range(3) if at + n >= len(tokens) or tokens[at + n] in _STOPS), 2)

    def _noun_follows(self, tokens: list[str], at: int) -> bool:
        """Whether a subject comes within the next two tokens ("orange tabby cat")."""
        ahead = [_lookup(tokens, i)[2] for i in range(at + 1, min(at + 3, len(tokens)))]
        return any(kind == "subject" for found in ahead for kind, _ in found)

    def _other(self, token: str) -> None:
        if token.isdigit() and 0 < int(token) <= 99:
            self._next["count"] = token
        elif token in _STOPS:
            self._next = {}
            self._since_subject = 99

    def _take(self, kind: str, value: str, *, plural: bool, alone: bool) -> None:
        if kind == "subject":
            self._add(value, plural=plural)
        elif kind == "colour":
            self._colour(value, alone=alone)
        elif kind == "side" and self.subjects:
            self.subjects[-1] = replace(self.subjects[-1], side=value)
        elif kind == "count" and alone and self._since_subject <= 1 and self.subjects:
            self.subjects[-1] = replace(self.subjects[-1], count=int(value))
        elif kind in ("count", "scale", "side"):
            self._next[kind] = value
        else:
            self.facts.setdefault(kind, value)

    def _colour(self, value: str, *, alone: bool) -> None:
        self._colour_seen = self._colour_seen or value
        if alone and self._since_subject <= 2 and self.subjects and not self.subjects[-1].colour:
            self.subjects[-1] = replace(self.subjects[-1], colour=parse(value))
        elif alone and value == _ORANGE:
            self._add("orange", plural=False)
        else:
            self._next["colour"] = value

    def _add(self, name: str, *, plural: bool) -> None:
        if any(known.name == name for known in self.subjects):
            return
        colour = self._next.get("colour")
        count = int(self._next.get("count", "3" if plural else "1"))
        self.subjects.append(Subject(
            name=name,
            colour=parse(colour) if colour else None,
            count=1 if name == "team" else min(count, MAX_THINGS),
            scale=float(self._next.get("scale", "1")),
            side=self._next.get("side", ""),
        ))  # fmt: skip
        self._next = {}
        self._since_subject = -1

    def mood(self) -> Colour | None:
        """Return the first colour named, for pictures without a subject to wear it."""
        return parse(self._colour_seen) if self._colour_seen else None


def understand(words: str) -> Brief:
    """Return what `words` (English or Korean) ask to see; an empty brief if none is known."""
    tokens = _TOKEN.findall(words.lower().replace("-", " "))
    reader = _Reader()
    reader.read(tokens)
    return Brief(
        subjects=tuple(reader.subjects[:MAX_THINGS]),
        place=reader.facts.get("place", ""),
        time=reader.facts.get("time", "day"),
        weather=reader.facts.get("weather", ""),
        mood=reader.mood(),
    )
