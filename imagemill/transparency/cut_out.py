"""Cutting a subject out of its background, by the least invention that works."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from imagemill.quality.alpha import transparent_border
from imagemill.quality.check import Check, Picture
from imagemill.quality.colour import visible
from imagemill.quality.technical import TRANSPARENCY
from imagemill.transparency.alpha import clean_alpha
from imagemill.transparency.backdrop import find_backdrop
from imagemill.transparency.edges import unmixed
from imagemill.transparency.matte import matted

KEEP_BORDER = 0.9
"""Share of border pixels with alpha 0 above which an alpha is kept (the document, 5.2
`ensure_transparency`: `edge_transparency > 0.9`)."""
_LEAST_SUBJECT = 0.005
"""Share of the picture; a cut that leaves less has found no subject."""

Method = Literal["kept", "flood", "segmenter", "uncut"]


class Segmenter(Protocol):
    """A model that finds the subject."""

    name: str

    def mask(self, picture: Picture) -> NDArray[np.uint8]:
        """Return H x W alpha, 0 (background) to 255 (subject). Alpha of `picture` is ignored.

        Raises:
            ServiceError: the model or its library is not there.
        """
        ...


class CutOutFacts(BaseModel):
    """What was found on the way.

    Attributes:
        transparent_border: 0 to 1, of the picture as it came; above 0.9 alpha was kept.
        plain_share: 0 to 1, border pixels near the fitted background; from 0.9 on it was plain.
            None if alpha was kept.
        segmenter: Its name if it made the cut.
        checks: What the checks of transparency say about the outcome.
    """

    model_config = ConfigDict(frozen=True)

    transparent_border: float
    plain_share: float | None = None
    segmenter: str = ""
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class CutOut:
    """A cut-out: H x W x 4 straight alpha, how it was made and what was measured.

    `method` is `uncut` where there was no plain background and no segmenter: the picture is then
    opaque and the checks say so, rather than a shape being made up.
    """

    picture: Picture
    method: Method
    facts: CutOutFacts

    @property
    def passed(self) -> bool:
        """Whether every check of transparency passed."""
        return all(check.passed for check in self.facts.checks)


def cut_out(
    picture: Picture, segmenter: Segmenter | None = None, *, open_holes: bool = False
) -> CutOut:
    """Return the subject on transparency; `picture` is never changed.

    A good alpha is kept; a plain background is flooded from the border; else the segmenter decides.

    Not solved, and not seen by the checks: parts of exactly the background's colour that lie open to
    it (a white tower without an outline on white) are lost, and shadows with a hard edge stay.

    CPU: 0.7 s for 512 px without a segmenter; call it in a thread from async code.

    Args:
        picture: H x W x 4; an opaque picture has alpha 255.
        segmenter: Asked only if there is no plain background.
        open_holes: On a plain background, whether enclosed areas of its colour become transparent.
            Off, since a white belly on white is lost otherwise; a ring's hole then stays filled.

    Raises:
        ServiceError: the segmenter was needed and is not there.
    """
    clear = transparent_border(picture)
    if clear > KEEP_BORDER and _has_subject(picture):
        return _measured(picture, "kept", CutOutFacts(transparent_border=clear))
    flat = _without_alpha(picture)
    backdrop = find_backdrop(flat, open_holes=open_holes)
    facts = CutOutFacts(transparent_border=clear, plain_share=backdrop.plain_share)
    if backdrop.plain:
        cut = unmixed(flat, backdrop.mask)
        if _has_subject(cut):
            return _measured(cut, "flood", facts)
    if segmenter is None:
        return _measured(flat, "uncut", facts)
    cut = matted(flat, segmenter.mask(flat))
    return _measured(cut, "segmenter", facts.model_copy(update={"segmenter": segmenter.name}))


def _without_alpha(picture: Picture) -> Picture:
    """Return the picture on white, opaque: a poor alpha is not believed."""
    alpha = picture[..., 3:].astype(np.float32) / 255
    colour = picture[..., :3] * alpha + 255 * (1 - alpha)
    opaque = np.full_like(picture[..., 3:], 255)
    return np.concatenate([np.round(colour).astype(np.uint8), opaque], axis=-1)


def _has_subject(picture: Picture) -> bool:
    return float(visible(picture).mean()) >= _LEAST_SUBJECT


def _measured(picture: Picture, method: Method, facts: CutOutFacts) -> CutOut:
    cleaned = clean_alpha(picture)
    checks = tuple(check(cleaned) for check in TRANSPARENCY)
    return CutOut(cleaned, method, facts.model_copy(update={"checks": checks}))
