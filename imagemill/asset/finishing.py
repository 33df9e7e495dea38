"""From the picture that came to the file that is delivered: cut out, snapped, fitted, measured.

Numpy and Pillow; everything here is CPU work that async callers put into a thread.
"""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from imagemill.asset.judge import Outcome
from imagemill.asset.request import AssetRequest, StyleGuide
from imagemill.asset.template import ordered_key, template_kind
from imagemill.errors import ArtifactError
from imagemill.quality import (
    Check,
    CheckSpec,
    Picture,
    cells,
    find_grid,
    snap_to_palette,
    technical_checks,
)
from imagemill.quality.check import OPAQUE
from imagemill.quality.colour import colours_of
from imagemill.transparency import Method, Segmenter, clean_alpha, cut_out, on_white

SAME_ASPECT = 0.01
"""Relative difference of aspect ratios below which a picture is stretched rather than padded."""

KEY_LEVELS = 48
"""How far a model may miss the flat colour it was asked for, in the worst channel, until holes of
that colour are no longer taken for background."""


class Finish(BaseModel):
    """What was done to a picture.

    Attributes:
        cut_out: `kept`, `flood`, `segmenter` or `uncut`; "" where a background was ordered.
        segmenter: Which model made the cut, if one did.
        pixel_grid_px: Side of a square of the pixel grid it was snapped to, in pixels of the
            original; None if there was none.
        snapped: `palette`, `colours` (reduced to the guide's number) or "".
        original_size: Width and height as it came.
    """

    model_config = ConfigDict(frozen=True)

    cut_out: Method | None = None
    segmenter: str = ""
    pixel_grid_px: float | None = None
    snapped: str = ""
    original_size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Finished:
    """A picture as it is delivered: H x W x 4, its PNG, and what was done to it."""

    picture: Picture
    png: bytes
    facts: Finish


def finished(
    data: bytes, request: AssetRequest, guide: StyleGuide, segmenter: Segmenter | None = None
) -> Finished:
    """Cut a picture out, snap pixel art to its grid and palette, and fit it to the exact size.

    CPU: 1 s for 512 px, 4 s for 1024 px; call it in a thread.

    Raises:
        ServiceError: the segmenter was needed and is not there.
        ArtifactError: the bytes are no picture.
    """
    picture = pixels(data)
    facts = Finish(original_size=(picture.shape[1], picture.shape[0]))
    if guide.constraints.transparent_background:
        cut = cut_out(picture, segmenter, open_holes=_on_its_key(picture, request, guide))
        picture = cut.picture
        facts = facts.model_copy(update={"cut_out": cut.method, "segmenter": cut.facts.segmenter})
    if template_kind(request, guide) == "pixel_art":
        picture, facts = _snapped(picture, guide, facts)
    size = (request.size.width, request.size.height)
    crisp = template_kind(request, guide) == "pixel_art"
    picture = fitted(picture, size, crisp=crisp, pad=guide.constraints.transparent_background)
    return Finished(picture, encoded(picture), facts)


def _on_its_key(picture: Picture, request: AssetRequest, guide: StyleGuide) -> bool:
    """Tell whether the border has the key colour that was ordered, which nothing in the subject has.

    Then what it encloses (a bow and its string) is background, too. White is no such colour.
    """
    key = ordered_key(request, guide)
    if key == "#FFFFFF":
        return False
    ring = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])[:, :3]
    off = np.abs(np.median(ring, axis=0) - np.frombuffer(bytes.fromhex(key[1:]), np.uint8))
    return bool(off.max() <= KEY_LEVELS)


def pixels(data: bytes) -> Picture:
    """Return an encoded picture as H x W x 4.

    Raises:
        ArtifactError: it is none.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            return np.asarray(image.convert("RGBA"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ArtifactError("A picture of the loop cannot be decoded.") from error


def encoded(picture: Picture) -> bytes:
    """Return a picture as PNG; the same pixels give the same bytes."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def white_preview(picture: Picture) -> bytes:
    """Return the picture on white, as PNG (the document, 5.2 `add_white_background`)."""
    file = BytesIO()
    Image.fromarray(on_white(picture)).save(file, "PNG")
    return file.getvalue()


def spec_of(request: AssetRequest, guide: StyleGuide) -> CheckSpec:
    """Return what an asset must be, as the technical checks understand it."""
    pixel_art = template_kind(request, guide) == "pixel_art"
    key = ordered_key(request, guide)
    return CheckSpec(
        size=(request.size.width, request.size.height),
        pixel_art=pixel_art,
        transparent=guide.constraints.transparent_background,
        max_colors=guide.constraints.max_colors,
        palette=guide.color_palette if pixel_art else (),
        # Snapped to a palette nothing has the key's colour any more; white may be the subject's.
        background="" if pixel_art or key == "#FFFFFF" else key,
    )


def checked_picture(
    picture: Picture, request: AssetRequest, guide: StyleGuide
) -> tuple[Check, ...]:
    """Return every technical check that the order asks for. CPU: 0.2 to 0.5 s."""
    return technical_checks(picture, spec_of(request, guide))


def outcome_of(check: Check) -> Outcome:
    """Return a check as judges take it: of a band, the end that the value is nearer to."""
    limit = check.threshold
    if isinstance(limit, tuple):
        limit = min(limit, key=lambda end: abs(end - check.value))
    return Outcome(
        check.name, passed=check.passed, value=check.value, threshold=limit, remedy=check.remedy
    )


def _snapped(picture: Picture, guide: StyleGuide, facts: Finish) -> tuple[Picture, Finish]:
    """Make pixel art of it: one colour a square, full or no alpha, no colour too many."""
    grid = find_grid(picture)
    if grid is not None:
        picture = cells(picture, grid)
    hard = picture.copy()
    hard[..., 3] = np.where(picture[..., 3] >= OPAQUE, 255, 0)
    hard[hard[..., 3] == 0] = 0
    how = ""
    if guide.color_palette:
        hard, how = snap_to_palette(hard, guide.color_palette), "palette"
    elif len(colours_of(hard)) > guide.constraints.max_colors:
        hard, how = _fewer_colours(hard, guide.constraints.max_colors), "colours"
    side_px = grid.side_px if grid else None
    return hard, facts.model_copy(update={"pixel_grid_px": side_px, "snapped": how})


def _fewer_colours(picture: Picture, most: int) -> Picture:
    """Return the picture with at most `most` colours, chosen from those that are seen."""
    shown = picture[..., 3] > 0
    seen = Image.fromarray(picture[shown][:, :3].reshape(1, -1, 3))
    few = seen.quantize(most, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    out = picture.copy()
    out[shown, :3] = np.asarray(few.convert("RGB"))[0]
    return out


def fitted(picture: Picture, size: tuple[int, int], *, crisp: bool, pad: bool) -> Picture:
    """Return the picture at an exact size, its proportions kept.

    Args:
        picture: H x W x 4; premultiplied while it is scaled, so that edges take no hidden colour.
        size: Width and height.
        crisp: Nearest neighbour, for pixel art.
        pad: Transparent room where the proportions differ; else the longer side is cropped.
    """
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    ratios = (size[0] / width, size[1] / height)
    same = abs(ratios[0] / ratios[1] - 1) <= SAME_ASPECT
    factor = min(ratios) if pad else max(ratios)
    inner = size if same else (max(1, round(width * factor)), max(1, round(height * factor)))
    image = Image.fromarray(picture)
    if crisp:
        scaled = image.resize(inner, Image.Resampling.NEAREST)
    else:
        scaled = image.convert("RGBa").resize(inner, Image.Resampling.LANCZOS).convert("RGBA")
    canvas = Image.new("RGBA", size, (0, 0, 0, 0))
    canvas.paste(scaled, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    result = np.asarray(canvas)
    return result if crisp or not pad else clean_alpha(result)
