"""A look at all assets of a pack together: by pixels always, by a vision model where there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from math import ceil, sqrt
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import BaseModel, ConfigDict

from imagemill.pack.consistency import Consistency, consistency, joined
from imagemill.pack.duplicates import duplicates
from imagemill.pack.judge import PackJudgement
from imagemill.quality.check import Picture
from imagemill.quality.colour import on_ground

_CELL_PX, _GAP_PX, _WORDS_PX = 224, 16, 34


class PackReview(BaseModel):
    """What was found out about a pack.

    Attributes:
        pixels: Measured; off style by pixels.
        judgement: A model's opinion; None if none was asked or none came.
        not_judged: Why there is no opinion, in a sentence; empty if there is one.
        duplicates: Pairs of assets that look the same.
    """

    model_config = ConfigDict(frozen=True)

    pixels: Consistency
    judgement: PackJudgement | None = None
    not_judged: str = ""
    duplicates: tuple[tuple[str, str], ...] = ()

    @property
    def off_style(self) -> tuple[str, ...]:
        """Who does not fit, by pixels or by eye; each once."""
        seen = self.judgement.off_style if self.judgement else ()
        return tuple(dict.fromkeys((*self.pixels.off_style, *seen)))

    @property
    def score(self) -> float | None:
        """The eye's score where there is one, else that of the pixels; 0 to 100."""
        return self.judgement.score if self.judgement else self.pixels.score

    def to_json(self) -> dict[str, Any]:
        """Return it for the flow's answer."""
        return {
            **self.model_dump(mode="json"),
            "score": self.score,
            "off_style": list(self.off_style),
        }


@dataclass(frozen=True)
class Kin:
    """Assets that look alike by intention: the states of one."""

    groups: tuple[frozenset[str], ...] = ()

    def related(self, one: str, other: str) -> bool:
        """Tell whether two names belong to one asset."""
        return any(one in group and other in group for group in self.groups)


def reviewed(
    pictures: Mapping[str, Picture],
    palette: Sequence[str] = (),
    kin: Kin | None = None,
    *,
    hands: Mapping[str, str] | None = None,
) -> PackReview:
    """Return what pixels say of a pack. CPU: 0.3 s an asset; call it in a thread.

    Args:
        pictures: H x W x 4 by name.
        palette: Colours that the style guide names.
        kin: Who looks alike by intention.
        hands: By name, which template ordered it: a tile of the interface is drawn otherwise than a
            sprite by intention, so each is compared with its like.
    """
    kin, hands = kin or Kin(), hands or {}
    alike = tuple(pair for pair in duplicates(pictures) if not kin.related(*pair))
    groups: dict[str, dict[str, Picture]] = {}
    for name, picture in pictures.items():
        groups.setdefault(hands.get(name, ""), {})[name] = picture
    return PackReview(
        pixels=joined([consistency(group, palette) for group in groups.values()]), duplicates=alike
    )


def numbered_sheet(pictures: Sequence[Picture]) -> bytes:
    """Return the sheet a model is asked about: pictures on mid-grey, numbered from 1, as PNG."""
    columns = max(1, ceil(sqrt(len(pictures) * 1.2)))
    step = _CELL_PX + _GAP_PX
    size = (columns * step + _GAP_PX, ceil(len(pictures) / columns) * (step + _WORDS_PX) + _GAP_PX)
    sheet = Image.new("RGB", size, (150, 150, 150))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(26)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        left, top = _GAP_PX + column * step, _GAP_PX + row * (step + _WORDS_PX)
        flat = Image.fromarray(np.round(on_ground(picture, 150.0)).astype(np.uint8))
        flat.thumbnail((_CELL_PX, _CELL_PX), Image.Resampling.LANCZOS)
        sheet.paste(flat, (left + (_CELL_PX - flat.width) // 2, top + _CELL_PX - flat.height))
        pen.text((left + _CELL_PX / 2, top + _CELL_PX + 4), str(place + 1), (0, 0, 0), font, "ma")
    out = BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()
