"""Looks up what a batch is drawn in: its styles, and its reference images, from disk or the web."""

import os
from pathlib import Path

from blocks.settings import Settings
from imagemill.errors import RequestError
from imagemill.intake import ReferenceImage, load_reference
from imagemill.looks import Look, Looks
from imagemill.netguard import Guard
from imagemill.prompt import Style, find_style
from imagemill.request import BatchRequest
from imagemill.rows import about

MOST_REFERENCE_BYTES = 2_000_000_000
"""Of all references of a run, which are in memory while it lasts."""


class _Shelf:
    """Styles and references by name, each read once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._styles: dict[str, Style] = {}
        self._pictures: dict[str, ReferenceImage] = {}

    async def look(self, style_name: str, sources: tuple[str, ...], *, number: int = 0) -> Look:
        """Return a look; errors say that prompt `number` asks for it."""
        with about(number, "style_name"):
            style = self._style(style_name)
        with about(number, "references"):
            pictures = [await self._picture(source) for source in sources]
        return Look(style, tuple(pictures))

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = find_style(name, self._settings.styles_dir)
        return self._styles[name]

    async def _picture(self, source: str) -> ReferenceImage:
        """Read a reference image, redrawn as plain pixels, from allowed folders or the web."""
        if source not in self._pictures:
            roots = [Path(f) for f in self._settings.reference_roots.split(os.pathsep) if f]
            self._pictures[source] = await load_reference(source, roots, guard=Guard())
            if sum(len(each.data) for each in self._pictures.values()) > MOST_REFERENCE_BYTES:
                raise RequestError(
                    f"The reference images take more than {MOST_REFERENCE_BYTES:,} bytes.",
                    remedy="Make them smaller, or ask for fewer prompts at a time.",
                )
        return self._pictures[source]


async def open_looks(batch: BatchRequest, settings: Settings) -> Looks:
    """Return the look of a batch and, where it has rows, that of each prompt.

    Raises:
        RequestError: no such style, or a reference that may or can not be read; says which row
            names it.
    """
    shelf = _Shelf(settings)
    common = await shelf.look(batch.style_name, batch.references)
    own = [
        await shelf.look(row.style_name, row.references, number=number)
        for number, row in enumerate(batch.settled if batch.rows else (), start=1)
    ]
    return Looks(common, tuple(own))
