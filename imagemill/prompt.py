"""Styles are data on a shelf (`styles/*.toml`); a style turns the asker's words into a prompt."""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from imagemill.errors import RequestError, UnsupportedRequest


class Style(BaseModel):
    """A named look: prompt parts and defaults.

    Attributes:
        template: The prompt, with the gap `{prompt}` where the asker's words go.
        negative_prompt: What to avoid, comma separated.
        palette: Hex colours, `#rrggbb`, most used first; read by the sketch provider and by
            palette checks.
        technique: How the sketch provider draws it.
        checkpoint: The local checkpoint that draws this style, read by the sdxl provider.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=60)]
    description: str
    template: str
    negative_prompt: str = ""
    palette: tuple[str, ...] = ()
    technique: str = "flat"
    checkpoint: str = ""

    @field_validator("template")
    @classmethod
    def _has_the_gap(cls, value: str) -> str:
        if value.count("{prompt}") != 1:
            raise ValueError("template needs the gap {prompt} exactly once")
        return value

    def render(self, words: str) -> str:
        """Return the prompt for the asker's `words`. Braces in them are left alone."""
        return self.template.replace("{prompt}", words.strip())


def _read(files: Iterable[Path]) -> dict[str, Style]:
    styles: dict[str, Style] = {}
    for file in files:
        try:
            style = Style.model_validate(tomllib.loads(file.read_text("utf-8")))
        except (tomllib.TOMLDecodeError, ValidationError, OSError) as error:
            raise RequestError(
                f"The style file {file} is not usable: {error}", remedy="Mend or remove the file."
            ) from error
        styles[style.name.casefold()] = style
    return styles


@cache
def _shipped() -> Mapping[str, Style]:
    folder = Path(str(resources.files("imagemill") / "styles"))
    return _read(sorted(folder.glob("*.toml")))


def shelf(folder: Path | None = None) -> dict[str, Style]:
    """Return all styles by name: the shipped ones, and those in `folder` over them.

    Args:
        folder: A user's own `*.toml` files; a name that is shipped too replaces the shipped one.
    """
    own = _read(sorted(folder.glob("*.toml"))) if folder and folder.is_dir() else {}
    merged = {**_shipped(), **own}
    return {style.name: style for style in sorted(merged.values(), key=lambda s: s.name.casefold())}


def find_style(name: str, folder: Path | None = None) -> Style:
    """Return the style called `name`, whatever its case.

    Raises:
        UnsupportedRequest: no such style; the message lists the known ones.
    """
    styles = shelf(folder)
    for known, style in styles.items():
        if known.casefold() == name.strip().casefold():
            return style
    raise UnsupportedRequest(
        f"There is no style {name.strip()[:60]!r}.", remedy=f"Known styles: {', '.join(styles)}."
    )
