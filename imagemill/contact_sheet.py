"""The contact sheet: a batch as one picture to be looked at, printed or pinned to a wall.

Pictures are hung one at a time, while others are still being made: memory is the sheet itself (at
most `sheet_layout.MAX_SHEET_PX` pixels of 3 bytes) and one decoded image, and the end has little to
do. The same results give the same bytes, whatever was hung before. Text is set in the font that
comes inside Pillow; it knows ASCII only, so a prompt in another script is left out, not boxed.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from io import BytesIO
from math import ceil
from threading import Lock
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from imagemill.preview import PREVIEW_PX, open_thumbnail, size_of
from imagemill.report import class_in_words, costs_in_words, counts_in_words, latin
from imagemill.request import ImageResult
from imagemill.sheet_layout import SMALL_CELL_PX, Layout, layout_of, title_px

MAX_CELLS = 500

PAPER, INK, MUTED, HAIR = "#faf8f4", "#1d1c1a", "#777168", "#dcd7ce"
_CHECKER = ("#ffffff", "#f1eee8")
_TONES = {
    "failed": ("#f5e6e1", "#a03a22"),
    "ambiguous": ("#f6ecd3", "#80590c"),
    "not_started": ("#efece6", "#7d776d"),
}


def _font(px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return _font_of(max(9, round(px)))


@cache
def _font_of(px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(px)


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """Return `text`, shortened to `width` pixels with an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[: max(0, len(text) - max(1, len(text) // 12))]
    return text.rstrip() + "…"


def _pair(draw: ImageDraw.ImageDraw, layout: Layout, baseline: float, *,
          left: tuple[str, int, str], right: tuple[str, int]) -> None:  # fmt: skip
    """Write `left` (text, size, tone) and `right` (text, size) on one line; `left` gives way."""
    right_font, left_font = _font(right[1]), _font(left[1])
    free = layout.width - 2 * layout.margin - right_font.getlength(right[0]) - left[1]
    draw.text((layout.margin, baseline), _cut(left[0], left_font, free), left[2], left_font, "ls")
    draw.text((layout.width - layout.margin, baseline), right[0], MUTED, right_font, "rs")


def _draw_header(draw: ImageDraw.ImageDraw, layout: Layout, words: tuple[str, str], *,
                 title: str, label: str) -> None:  # fmt: skip
    big = title_px(layout.width)
    small = max(16, round(big * 0.42))
    first = layout.margin + big * 0.78
    name = latin(title) or "Contact sheet"
    _pair(draw, layout, first, left=(name, big, INK), right=(latin(label), small))
    _pair(draw, layout, first + big * 0.95, left=(words[0], small, MUTED),
          right=(words[1], small))  # fmt: skip
    rule = round(first + big * 1.5)
    draw.line((layout.margin, rule, layout.width - layout.margin - 1, rule), INK, max(1, big // 30))


def _checker(size: tuple[int, int], step: int) -> Image.Image:
    ground = Image.new("RGB", size, _CHECKER[0])
    draw = ImageDraw.Draw(ground)
    for row in range(ceil(size[1] / step)):
        for column in range(row % 2, ceil(size[0] / step), 2):
            x, y = column * step, row * step
            draw.rectangle((x, y, x + step - 1, y + step - 1), _CHECKER[1])
    return ground


def _glyph(kind: str, px: int) -> Image.Image:
    """Return the sign of a missing image as a mask, drawn four times too large and reduced."""
    side = px * 4
    mask = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(mask)
    line, inner = max(4, side // 18), side * 0.34
    box = (line, line, side - line, side - line)
    if kind == "not_started":
        for start in range(0, 360, 45):
            draw.arc(box, start, start + 26, 255, line)
    else:
        draw.ellipse(box, outline=255, width=line)
    if kind == "ambiguous":
        draw.text((side / 2, side / 2), "?", 255, _font(side * 0.62), anchor="mm")
    elif kind in {"failed", "missing"}:
        draw.line((inner, inner, side - inner, side - inner), 255, line)
    if kind == "failed":
        draw.line((inner, side - inner, side - inner, inner), 255, line)
    return mask.resize((px, px), Image.Resampling.LANCZOS)


def _draw_tile(sheet: Image.Image, box: tuple[int, int, int, int], result: ImageResult,
               text_px: int) -> None:  # fmt: skip
    """Fill `box` (left, top, right, bottom) with a calm word about the image that is not there."""
    kind = "missing" if result.success else result.status
    ground, ink = _TONES.get(kind, _TONES["not_started"])
    word = "file missing" if result.success else latin(class_in_words(result))
    draw = ImageDraw.Draw(sheet)
    left, top, right, bottom = box
    word = word if right - left >= SMALL_CELL_PX else word.partition(" (")[0]
    draw.rectangle((left, top, right - 1, bottom - 1), ground)
    glyph = _glyph(kind, max(14, min(72, (bottom - top) // 4)))
    middle_x, middle_y = (left + right) // 2, (top + bottom) // 2 - round(text_px * 0.8)
    sheet.paste(ink, (middle_x - glyph.width // 2, middle_y - glyph.height // 2), glyph)
    font = _font(text_px)
    under = middle_y + glyph.height / 2 + text_px * 1.3
    draw.text((middle_x, under), _cut(word, font, right - left - text_px), ink, font, anchor="mm")


def _draw_caption(sheet: Image.Image, layout: Layout, at: tuple[int, int],
                  result: ImageResult) -> None:  # fmt: skip
    """Write index, badge and, where there is room and letters, the prompt below a picture."""
    draw, px = ImageDraw.Draw(sheet), layout.text_px
    font = _font(px)
    left, base = at[0], at[1] + round(px * 1.45)
    draw.text((left, base), str(result.index + 1), INK, font, anchor="ls")
    if result.reused:
        small = _font(px * 0.82)
        right = left + layout.cell - px // 2
        x = right - small.getlength("reused")
        box = (x - px * 0.5, base - px * 0.92, right + px // 2 - 1, base + px * 0.32)
        draw.rounded_rectangle(box, px * 0.6, outline="#b9b2a6")
        draw.text((x, base - px * 0.04), "reused", MUTED, small, anchor="ls")
    if layout.cell >= SMALL_CELL_PX:
        words = filter(None, (latin(result.style_name), latin(result.prompt[:400])))
        line = _cut("  ·  ".join(words), font, layout.cell)
        draw.text((left, base + round(px * 1.3)), line, MUTED, font, anchor="ls")


def _scaled(path: str, preview_path: str | None, cell_px: int) -> Image.Image | None:
    """Return the picture for a cell, from its ready preview where that is sharp enough."""
    small = preview_path if cell_px <= PREVIEW_PX else None
    for source in filter(None, (small, path)):
        if picture := open_thumbnail(source, cell_px, enlarge=True):
            return picture
    return None


def _draw_picture(sheet: Image.Image, layout: Layout, index: int, picture: Image.Image) -> None:
    left, bottom = layout.corner(index)
    top = bottom - picture.height
    if picture.mode == "RGBA":
        ground = _checker(picture.size, max(6, layout.cell // 24))
        ground.paste(picture, mask=picture)
        picture = ground
    sheet.paste(picture, (left, top))
    frame = (left - 1, top - 1, left + picture.width, bottom)
    ImageDraw.Draw(sheet).rectangle(frame, outline=HAIR)


class _Hung(NamedTuple):
    """What a picture on the sheet was drawn from: another outcome is drawn anew."""

    digest: str | None
    words: tuple[str, str]
    reused: bool
    size: tuple[int, int]


def _hung(result: ImageResult, size: tuple[int, int]) -> _Hung:
    return _Hung(result.sha256, (result.style_name, result.prompt), result.reused, size)


class ContactSheet:
    """A sheet that its pictures are hung on as they come, in any order and from any thread.

    Until all are known, every picture is taken to have the size of the first. Where that was wrong,
    `png` measures anew and hangs them all again.

    Args:
        number: How many images the batch has; `MAX_CELLS` of them are shown.
        columns: Default: whatever makes the sheet a little wider than high.
        cell_px: Side of a cell; a few images get larger cells, over 200 smaller ones.
    """

    def __init__(self, number: int, *, columns: int | None = None, cell_px: int = 240) -> None:
        self._number = min(number, MAX_CELLS)
        self._columns = columns
        self._cell_px = cell_px
        self._first = Lock()
        self._layout: Layout | None = None
        self._sheet: Image.Image | None = None
        self._hung: dict[int, _Hung] = {}

    def hang(self, result: ImageResult) -> None:
        """Scale an image's picture, put it in its place and name it; CPU: 1 to 4 ms.

        Never raises: what cannot be read now is tried again by `png`.
        """
        index, size = result.index, size_of(result.local_path)
        if index >= self._number or size is None or result.local_path is None:
            return
        with self._first:
            if self._layout is None:
                self._layout = layout_of([size] * self._number, self._columns, self._cell_px)
                self._sheet = _blank(self._layout)
            sheet, layout = self._sheet, self._layout
        if sheet is None or layout is None:
            return
        picture = _scaled(result.local_path, result.preview_path, layout.cell)
        # A picture higher than its row would stand over its neighbour.
        if picture and picture.height <= layout.row_heights[index // layout.columns]:
            _draw_picture(sheet, layout, index, picture)
            _draw_caption(sheet, layout, layout.corner(index), result)
            self._hung[index] = _hung(result, size)

    def png(
        self,
        results: Sequence[ImageResult],
        *,
        title: str,
        label: str = "",
        spent_usd: Decimal | None = None,
    ) -> bytes:
        """Return the finished sheet as PNG bytes.

        Args:
            results: In the order shown. After the first 500 a note says that there are more.
            title: What the batch is; shown in letters of the Latin alphabet only.
            label: Who made it, from `credits.provider_label`.
            spent_usd: What the run spent by the ledger's word; default the sum of the results.
        """
        shown = results[:MAX_CELLS]
        sizes = [
            self._hung[at].size if at in self._hung else size_of(result.local_path)
            for at, result in enumerate(shown)
        ]
        layout = layout_of(sizes, self._columns, self._cell_px)
        right = all(
            at < len(shown) and shown[at].success and _hung(shown[at], hung.size) == hung
            for at, hung in self._hung.items()
        )
        sheet = self._sheet if right and layout == self._layout else None
        if sheet is None:
            sheet, self._hung = _blank(layout), {}
        more = f"  ·  the first {MAX_CELLS} are shown" if len(results) > MAX_CELLS else ""
        words = (counts_in_words(results) + more, costs_in_words(results, spent_usd))
        _draw_header(ImageDraw.Draw(sheet), layout, words, title=title, label=label)
        for at, result in enumerate(shown):
            if at not in self._hung:
                _draw_cell(sheet, layout, at, result)
                _draw_caption(sheet, layout, layout.corner(at), result)
        self._layout = self._sheet = None  # the words are on it: it is not drawn upon again
        self._hung = {}
        out = BytesIO()
        # The fastest level: a third larger than the best, in a quarter of the time.
        sheet.save(out, "PNG", compress_level=1 if len(shown) > 60 else 6)
        return out.getvalue()


def _blank(layout: Layout) -> Image.Image:
    return Image.new("RGB", (layout.width, layout.height), PAPER)


def _draw_cell(sheet: Image.Image, layout: Layout, index: int, result: ImageResult) -> None:
    """Draw a picture that was not hung before, or the tile that says why there is none."""
    picture = None
    if result.success and result.local_path:
        picture = _scaled(result.local_path, result.preview_path, layout.cell)
    if picture:
        _draw_picture(sheet, layout, index, picture)
        return
    left, bottom = layout.corner(index)
    box = (left, bottom - layout.tile, left + layout.cell, bottom)
    _draw_tile(sheet, box, result, layout.text_px)


def contact_sheet(
    results: Sequence[ImageResult],
    *,
    title: str,
    label: str = "",
    columns: int | None = None,
    cell_px: int = 240,
    spent_usd: Decimal | None = None,
) -> bytes:
    """Return a sheet of results that are all there already, as PNG bytes (see `ContactSheet`)."""
    sheet = ContactSheet(len(results), columns=columns, cell_px=cell_px)
    return sheet.png(results, title=title, label=label, spent_usd=spent_usd)
