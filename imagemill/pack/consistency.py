"""Whether the assets of a pack are drawn by one hand: measured on pixels, each against all others."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from imagemill.pack.traits import TRAITS, palette_distance, traits_of
from imagemill.quality.check import Picture

LEAST = 4
"""Fewer assets have no median worth the name."""
FLOORS = {
    "lightness": 16.0, "contrast": 14.0, "colourfulness": 11.0, "vividness": 16.0, "rim": 22.0,
    "detail": 3.0, "flatness": 8.0, "softness": 0.15, "grain": 0.8, "grid": 12.0, "palette": 3.0,
}  # fmt: skip
"""What assets of one hand may differ by in each trait, because they show different things: between
the 80th and 95th percentile of 264 assets of 22 packs (tests/unit/styled.py)."""
LIMIT = 5.9
"""Root of the summed squares of all traits' distances, in floors or spreads; the largest of those
264 assets is 5.60."""
_CAP = 8.0
"""No single trait counts for more, so that one odd colour alone is no other hand … unless it is
beyond everything."""
_TO_SIGMA = 1.4826
REMEDIES = {
    "lightness": "Ask for the brightness of the others.",
    "contrast": "Ask for the contrast of the others.",
    "colourfulness": "Name the pack's palette in the prompt.",
    "vividness": "Name the pack's palette in the prompt.",
    "palette": "Name the pack's palette in the prompt.",
    "rim": "Ask for the outline that the others have.",
    "detail": "Ask for as much inner detail as the others have.",
    "flatness": "Ask for the same shading: flat colour or soft gradients.",
    "softness": "Ask for edges as crisp as the others'.",
    "grain": "Ask for clean colour without texture, as the others have.",
    "grid": "Ask for the pixel grid of the others, or for none.",
}


class AssetStyle(BaseModel):
    """How well one asset fits.

    Attributes:
        name: Of the asset.
        score: 0 to 100: 100 is the middle of the pack, 50 the limit, less is off style.
        off_style: Whether it is drawn by another hand.
        why: The traits that part it most from the others, strongest first; empty if none does.
        remedy: What to ask for next time; empty if it fits.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    score: float
    off_style: bool
    why: tuple[str, ...] = ()
    remedy: str = ""


class Consistency(BaseModel):
    """What pixels say about a pack.

    Attributes:
        score: 0 to 100, the mean of its assets; None if there were too few to compare.
        assets: In the order given.
    """

    model_config = ConfigDict(frozen=True)

    score: float | None
    assets: tuple[AssetStyle, ...] = ()

    @property
    def off_style(self) -> tuple[str, ...]:
        """The names of the assets that do not fit."""
        return tuple(asset.name for asset in self.assets if asset.off_style)


def consistency(
    pictures: Mapping[str, Picture],
    palette: Sequence[str] = (),
    *,
    measure: Callable[[Picture], Mapping[str, float]] = traits_of,
) -> Consistency:
    """Compare each asset of a pack with all others.

    Every trait is measured in what separates it from the median of the others, in units of their
    spread or of a floor; together they make one distance. CPU: 0.2 s an asset; call it in a thread.

    Args:
        pictures: H x W x 4 cut-outs by name, of any sizes.
        palette: Colours `#rrggbb` that the style guide names.
        measure: Returns the traits of one picture, for whoever knows them already.
    """
    if len(pictures) < LEAST:
        return Consistency(score=None)
    names, drawn = list(pictures), list(pictures.values())
    table = np.array([
        [*measure(picture).values(),
         palette_distance(picture, [*drawn[:i], *drawn[i + 1 :]], palette)]
        for i, picture in enumerate(drawn)
    ])  # fmt: skip
    away = distances(table)
    assets = tuple(_style(name, row) for name, row in zip(names, away, strict=True))
    return joined([Consistency(score=0, assets=assets)])


def joined(groups: Sequence[Consistency]) -> Consistency:
    """Return what is known of several groups as one; groups that were too small add nothing."""
    assets = tuple(asset for group in groups for asset in group.assets)
    if not assets:
        return Consistency(score=None)
    score = sum(asset.score for asset in assets) / len(assets)
    return Consistency(score=round(score, 1), assets=assets)


def distances(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each row is from the others, trait by trait, in spreads or floors."""
    floors = np.array([FLOORS[name] for name in (*TRAITS, "palette")])
    away = np.zeros_like(table)
    for i, row in enumerate(table):
        others = np.delete(table, i, axis=0)
        middle = np.median(others, axis=0)
        spread = _TO_SIGMA * np.median(np.abs(others - middle), axis=0)
        away[i] = np.abs(row - middle) / np.maximum(spread, floors)
    return np.minimum(away, _CAP)


def _style(name: str, away: NDArray[np.float64]) -> AssetStyle:
    share = float(np.sqrt((away**2).sum())) / LIMIT
    traits = (*TRAITS, "palette")
    strongest = [traits[i] for i in np.argsort(-away) if away[i] > 1.5][:3]
    off = share > 1.0
    return AssetStyle(
        name=name, score=round(100 / (1 + share**2), 1), off_style=off,
        why=tuple(strongest) if off else (),
        remedy=REMEDIES[strongest[0]] if off and strongest else "",
    )  # fmt: skip
