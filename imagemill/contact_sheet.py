"""The contact sheet: a batch as one picture to be looked at, printed or pinned to a wall.

Pictures are opened one at a time, so memory is the sheet itself (at most `MAX_SHEET_PX` pixels of
3 bytes) and one decoded image. The same results give the same bytes. Text is set in the font that
comes inside Pillow; it knows ASCII only, so a prompt in another script is left out, not boxed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from math import ceil, sqrt

from PIL import Image, ImageDraw, ImageFont

from imagemill.preview import PREVIEW_PX, fitted, open_thumbnail
from imagemill.report import class_in_words, costs_in_words, counts_in_words, latin
from imagemill.request import ImageResult

MAX_CELLS = 500
MAX_SHEET_PX = 48_000_000  # 144 MB while being drawn, and a phone still opens it

PAPER, INK, MUTED, HAIR = "#faf8f4", "#1d1c1a", "#777168", "#dcd7ce"
_CHECKER = ("#ffffff", "#f1eee8")
_TONES = {
    "failed": ("#f5e6e1", "#a03a22"),
    "ambiguous": ("#f6ecd3", "#80590c"),
    "not_started": ("#efece6", "#7d776d"),
}
_FEW_IMAGES = ((1, 2.8), (2, 2.0), (4, 1.5), (9, 1.25), (60, 1.0), (200, 0.65))
"""(up to so many images, cell factor): a few images are shown large, more than 200 small."""
_MANY_FACTOR = 0.6
SMALL_CELL_PX = 180  # below this there is no room for a prompt


def _font(px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(9, round(px)))


@dataclass(frozen=True)
class _Layout:
    """Measures of a sheet in pixels; `header` is where the first row begins."""

    cell: int
    columns: int
    width: int
    header: int
    row_heights: tuple[int, ...]

    @property
    def gap(self) -> int:
        return max(12, self.cell // 10)

    @property
    def margin(self) -> int:
        return max(32, min(72, self.width // 30))

    @property
    def text_px(self) -> int:
        return max(11, min(20, round(self.cell * 0.058)))

    @property
    def caption(self) -> int:
        return round(self.text_px * (1.7 if self.cell < SMALL_CELL_PX else 3.0))

    @property
    def height(self) -> int:
        rows = sum(height + self.caption + self.gap for height in self.row_heights)
        return self.header + rows - self.gap + self.margin


def _columns(number: int, cell_ratio: float) -> int:
    """Return the columns of a sheet a little wider than high, with the fullest last row.

    `cell_ratio` is the height of a cell with its caption over its width.
    """
    if number <= 3:
        return max(1, number)
    wished = max(2, round(sqrt(number * 1.35 * cell_ratio)))
    around = [c for c in range(wished - 1, wished + 3) if c >= 2]
    return min(around, key=lambda c: (-number % c / c, abs(c - wished)))


def _size(result: ImageResult) -> tuple[int, int] | None:
    """Return width and height of the picture in pixels, None if there is no readable picture."""
    if not result.success or not result.local_path:
        return None
    try:
        with Image.open(result.local_path) as picture:
            return picture.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _layout(
    sizes: Sequence[tuple[int, int] | None], columns: int | None, cell_px: int
) -> tuple[_Layout, int]:
    """Return the measures, and the height of a tile without picture."""
    number = len(sizes)
    factor = next((f for most, f in _FEW_IMAGES if number <= most), _MANY_FACTOR)
    known = [size for size in sizes if size]
    common = max(known, key=known.count) if known else (1, 1)
    ratio = common[1] / max(common) + 0.22
    columns = max(1, min(columns or _columns(number, ratio), max(number, 1)))
    cell = max(48, round(cell_px * factor))
    cell = min(cell, int(sqrt(MAX_SHEET_PX / (columns * ceil(max(number, 1) / columns)) / 1.5)))
    tile = max(fitted(common, cell)[1], cell // 2)
    heights = [fitted(size, cell)[1] if size else tile for size in sizes]
    rows = tuple(max(heights[at : at + columns]) for at in range(0, number, columns))
    bare = _Layout(cell, columns, 0, 0, rows)
    width = columns * cell + (columns - 1) * bare.gap
    width = max(width + 2 * max(32, min(72, width // 28)), 720)
    return _Layout(cell, columns, width, round(_title_px(width) * 4.2), rows), tile


def _title_px(width: int) -> int:
    return round(max(30, min(76, width / 34)))


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """Return `text`, shortened to `width` pixels with an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[: max(0, len(text) - max(1, len(text) // 12))]
    return text.rstrip() + "…"


def _pair(draw: ImageDraw.ImageDraw, layout: _Layout, baseline: float, *,
          left: tuple[str, int, str], right: tuple[str, int]) -> None:  # fmt: skip
    """Write `left` (text, size, tone) and `right` (text, size) on one line; `left` gives way."""
    right_font, left_font = _font(right[1]), _font(left[1])
    free = layout.width - 2 * layout.margin - right_font.getlength(right[0]) - left[1]
    draw.text((layout.margin, baseline), _cut(left[0], left_font, free), left[2], left_font, "ls")
    draw.text((layout.width - layout.margin, baseline), right[0], MUTED, right_font, "rs")


def _draw_header(draw: ImageDraw.ImageDraw, layout: _Layout, words: tuple[str, str], *,
                 title: str, label: str) -> None:  # fmt: skip
    big = _title_px(layout.width)
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


def _draw_caption(sheet: Image.Image, layout: _Layout, at: tuple[int, int],
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
        words = _cut(latin(result.prompt[:400]), font, layout.cell)
        draw.text((left, base + round(px * 1.3)), words, MUTED, font, anchor="ls")


def _picture(result: ImageResult, cell_px: int) -> Image.Image | None:
    """Return the picture for a cell, from its ready preview where that is sharp enough."""
    small = result.preview_path if cell_px <= PREVIEW_PX else None
    for path in filter(None, (small, result.local_path)):
        if picture := open_thumbnail(path, cell_px, enlarge=True):
            return picture
    return None


def _draw_cell(sheet: Image.Image, layout: _Layout, at: tuple[int, int], result: ImageResult,
               tile_px: int) -> None:  # fmt: skip
    """Draw one image, its lower left corner at `at`, and the caption below."""
    left, bottom = at
    picture = _picture(result, layout.cell) if result.success else None
    if picture is None:
        box = (left, bottom - tile_px, left + layout.cell, bottom)
        _draw_tile(sheet, box, result, layout.text_px)
    else:
        top = bottom - picture.height
        if picture.mode == "RGBA":
            ground = _checker(picture.size, max(6, layout.cell // 24))
            ground.paste(picture, mask=picture)
            picture = ground
        sheet.paste(picture, (left, top))
        ImageDraw.Draw(sheet).rectangle(
            (left - 1, top - 1, left + picture.width, bottom), outline=HAIR
        )
    _draw_caption(sheet, layout, at, result)


def contact_sheet(results: Sequence[ImageResult], *, title: str, label: str = "",
                  columns: int | None = None, cell_px: int = 240,
                  spent_usd: Decimal | None = None) -> bytes:  # fmt: skip
    """Return the contact sheet of `results` as PNG bytes.

    Pictures stand on one line per row, whatever their aspect ratios; an image that is not there
    is a quiet tile that says why. Images are numbered from 1, in input order.

    Args:
        results: In the order shown. After the first 500 a note says that there are more.
        title: What the batch is; shown in letters of the Latin alphabet only.
        label: Who made it, from `report.provider_label`.
        columns: Default: whatever makes the sheet a little wider than high.
        cell_px: Side of a cell; a few images get larger cells, over 200 smaller ones.
        spent_usd: What the run spent by the ledger's word; default the sum of the results.
    """
    shown = results[:MAX_CELLS]
    layout, tile_px = _layout([_size(result) for result in shown], columns, cell_px)
    sheet = Image.new("RGB", (layout.width, layout.height), PAPER)
    more = f"  ·  the first {MAX_CELLS} are shown" if len(results) > MAX_CELLS else ""
    words = (counts_in_words(results) + more, costs_in_words(results, spent_usd))
    _draw_header(ImageDraw.Draw(sheet), layout, words, title=title, label=label)
    bottom = layout.header
    for row, height in enumerate(layout.row_heights):
        bottom += height
        for column, result in enumerate(shown[row * layout.columns : (row + 1) * layout.columns]):
            left = layout.margin + column * (layout.cell + layout.gap)
            _draw_cell(sheet, layout, (left, bottom), result, tile_px)
        bottom += layout.caption + layout.gap
    out = BytesIO()
    # The fastest level: a third larger than the best, in a quarter of the time.
    sheet.save(out, "PNG", compress_level=1 if len(shown) > 60 else 6)
    return out.getvalue()
