"""The vocabulary of drawings: text in `drawings/*.toml`, one line for each mark.

A line is `op colour numbers…` in a box of 100 by 100 units, y downwards, feet at the bottom:

    e cx cy rx ry [turn]     ellipse          d cx cy rx ry from to    piece of an ellipse
    p x y x y …              polygon          b x y x y …              smooth closed shape
    l width x y x y …        line             c width x y x y …        smooth line
    r x y width height [rad] rectangle        s cx cy outer inner tips star
    i cx cy radius           eye              u NAME x y scale         another drawing inside

A capital letter draws the mark and its mirror image about x = 50. A colour is `m` (the subject's
own, which "red" in the prompt changes), `a` (its accent) or a name from `colour.NAMED`, followed by
any number of `+` (lighter) or `-` (darker).
"""

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from imagemill.providers.sketch.colour import NAMED, Colour, parse, shade
from imagemill.providers.sketch.geometry import (
    Points,
    ellipse,
    pairs,
    rectangle,
    sector,
    smooth,
    star,
    stroke,
)  # fmt: skip


class Entry(BaseModel):
    """One word of the vocabulary: how it is called and drawn.

    Attributes:
        words: Comma-separated names, singular, English or Korean.
        colour: What `m` is unless the prompt says otherwise.
        role: hero (foreground), scenery (behind heroes) or sky (above them).
        home: The setting it stands in when the prompt names none.
        size: How large it is drawn next to others; 1 is usual.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: str
    colour: str
    accent: str = "#f2b632"
    role: str = "hero"
    home: str = "meadow"
    size: float = 1.0
    draw: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One outline and the colour it is filled with, e.g. `m+`."""

    points: Points
    paint: str


@cache
def vocabulary() -> dict[str, Entry]:
    """Return every drawing by its name."""
    folder = Path(str(resources.files("imagemill.providers.sketch") / "drawings"))
    entries: dict[str, Entry] = {}
    for file in sorted(folder.glob("*.toml")):
        data = tomllib.loads(file.read_text("utf-8"))
        entries.update({name: Entry.model_validate(entry) for name, entry in data.items()})
    return entries


@cache
def marks(name: str) -> tuple[Mark, ...]:
    """Return the marks of the drawing called `name`, in painting order."""
    return tuple(
        mark
        for line in vocabulary()[name].draw.splitlines()
        if line.strip()
        for mark in _read(line.split())
    )


def colour_of(paint: str, own: Colour, accent: Colour) -> Colour:
    """Return what `paint` ("m", "a+", "leaf--") stands for, given the subject's two colours."""
    name = paint.rstrip("+-")
    base = {"m": own, "a": accent}.get(name) or parse(NAMED.get(name, name))
    steps = paint.count("+") - paint.count("-")
    return shade(base, steps) if steps else base


def _read(fields: list[str]) -> Iterator[Mark]:
    op, paint, *rest = fields
    if op == "u":
        yield from _inside(paint, *map(float, rest))
        return
    numbers = [float(text) for text in rest]
    if op in "iI":
        yield from _eye(paint, numbers)
        if op == "I":
            yield from _eye(paint, [100 - numbers[0], *numbers[1:]])
        return
    points = _OUTLINES[op.lower()](numbers)
    yield Mark(points, paint)
    if op.isupper():
        yield Mark((points * (-1, 1) + (100, 0))[::-1], paint)


def _eye(paint: str, numbers: list[float]) -> Iterator[Mark]:
    x, y, radius = numbers
    yield Mark(ellipse(x, y, radius, radius * 1.12), paint)
    yield Mark(ellipse(x + radius * 0.3, y - radius * 0.4, radius * 0.34, radius * 0.34), "w")


def _inside(name: str, x: float, y: float, scale: float) -> Iterator[Mark]:
    own = {"m": vocabulary()[name].colour, "a": vocabulary()[name].accent}
    for mark in marks(name):
        base = mark.paint.rstrip("+-")
        paint = own.get(base, base) + mark.paint.removeprefix(base)
        yield Mark((mark.points - (50, 100)) * scale + (x, y), paint)


def _line(numbers: list[float]) -> Points:
    return stroke(pairs(numbers[1:]), numbers[0])


def _curve(numbers: list[float]) -> Points:
    return stroke(smooth(pairs(numbers[1:]), closed=False), numbers[0])


_OUTLINES: dict[str, Callable[[list[float]], Points]] = {
    "e": lambda n: ellipse(*n),
    "d": lambda n: sector(*n),
    "p": pairs,
    "b": lambda n: smooth(pairs(n)),
    "l": _line,
    "c": _curve,
    "r": lambda n: rectangle(*n),
    "s": lambda n: star(*n),
}
