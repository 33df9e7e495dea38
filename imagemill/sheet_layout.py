"""Measures of a contact sheet: how large its cells are and where each picture stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from imagemill.preview import fitted

MAX_SHEET_PX = 48_000_000  # 144 MB while being drawn, and a phone still opens it

_FEW_IMAGES = ((1, 2.8), (2, 2.0), (4, 1.5), (9, 1.25), (60, 1.0), (200, 0.65))
"""(up to so many images, cell factor): a few images are shown large, more than 200 small."""
_MANY_FACTOR = 0.6
SMALL_CELL_PX = 180  # below this there is no room for a prompt


@dataclass(frozen=True)
class Layout:
    """Measures of a sheet in pixels.

    Attributes:
        cell: Side of the square that a picture is fitted into.
        columns: Cells in a row.
        header: Where the first row begins.
        tile: Height of a tile that stands where there is no picture.
        row_heights: Of each row, without its captions.
    """

    cell: int
    columns: int
    width: int
    header: int
    tile: int
    row_heights: tuple[int, ...]

    @property
    def gap(self) -> int:
        """Space between two cells."""
        return max(12, self.cell // 10)

    @property
    def margin(self) -> int:
        """Space around everything."""
        return max(32, min(72, self.width // 30))

    @property
    def text_px(self) -> int:
        """Size of the letters below a picture."""
        return max(11, min(20, round(self.cell * 0.058)))

    @property
    def caption(self) -> int:
        """Height of the words below a picture; small cells show the number only."""
        return round(self.text_px * (1.7 if self.cell < SMALL_CELL_PX else 3.0))

    @property
    def height(self) -> int:
        """Of the whole sheet."""
        rows = sum(height + self.caption + self.gap for height in self.row_heights)
        return self.header + rows - self.gap + self.margin

    def corner(self, index: int) -> tuple[int, int]:
        """Return left and bottom of the cell `index`, counted from 0."""
        row, column = divmod(index, self.columns)
        above = sum(height + self.caption + self.gap for height in self.row_heights[:row])
        left = self.margin + column * (self.cell + self.gap)
        return left, self.header + above + self.row_heights[row]


def _columns(number: int, cell_ratio: float) -> int:
    """Return the columns of a sheet a little wider than high, with the fullest last row.

    `cell_ratio` is the height of a cell with its caption over its width.
    """
    if number <= 3:
        return max(1, number)
    wished = max(2, round(sqrt(number * 1.35 * cell_ratio)))
    around = [c for c in range(wished - 1, wished + 3) if c >= 2]
    return min(around, key=lambda c: (-number % c / c, abs(c - wished)))


def layout_of(sizes: Sequence[tuple[int, int] | None], columns: int | None, cell_px: int) -> Layout:
    """Return the measures for pictures of these sizes (width and height; None: no picture)."""
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
    bare = Layout(cell, columns, 0, 0, tile, rows)
    width = columns * cell + (columns - 1) * bare.gap
    width = max(width + 2 * max(32, min(72, width // 28)), 720)
    return Layout(cell, columns, width, round(title_px(width) * 4.2), tile, rows)


def title_px(width: int) -> int:
    """Return the size of the title's letters on a sheet of this width."""
    return round(max(30, min(76, width / 34)))
