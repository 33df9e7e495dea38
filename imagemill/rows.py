"""What one prompt of a batch has of its own, in place of what the batch says for all."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from imagemill.bounds import AspectRatio, NegativePrompt, Seed, Size
from imagemill.diffusion import DiffusionWish
from imagemill.errors import ImagemillError

MAX_REFERENCES = 14
"""Of one row; the form takes as many for a batch."""


class Row(BaseModel):
    """What one prompt has of its own; what is left out, or empty, is the batch's.

    The fields mean what they mean in `BatchRequest`. The words are in its `prompts`.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    style_name: Annotated[str, Field(max_length=60)] = ""
    model: Annotated[str, Field(max_length=200)] = ""
    aspect_ratio: AspectRatio = ""
    size: Size = ""
    seed: Seed | None = None
    negative_prompt: NegativePrompt = ""
    references: Annotated[tuple[str, ...], Field(max_length=MAX_REFERENCES)] = ()
    diffusion: DiffusionWish | None = None

    @property
    def own(self) -> dict[str, Any]:
        """The fields that the row does not leave to the batch."""
        return {name: value for name, value in self if not is_left_out(value)}

    def over(self, common: Self) -> Self:
        """Return the row with what it leaves open taken from `common`."""
        own = self.own
        if self.diffusion:
            own["diffusion"] = self.diffusion.over(common.diffusion)
        return common.model_copy(update=own)

    @model_serializer(mode="wrap")
    def _only_its_own(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in written(self).items() if not is_left_out(value)}


def is_left_out(value: Any) -> bool:  # noqa: ANN401 - any field of a row
    """Whether a field says nothing. A seed of 0 says something."""
    return value is None or value in ("", (), [], {}, DiffusionWish())


def split(prompts: Any) -> tuple[Any, tuple[Any, ...]]:  # noqa: ANN401 - not checked yet
    """Return the words of a list of prompts and rows, and what each has of its own.

    The latter is empty when nothing has. Nothing is checked here.
    """
    if not isinstance(prompts, list | tuple):
        return prompts, ()
    words = [each.get("prompt") or "" if isinstance(each, Mapping) else each for each in prompts]
    rows = [_fields(each) if isinstance(each, Mapping) else {} for each in prompts]
    return words, tuple(rows) if any(rows) else ()


def _fields(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        str(name): value
        for name, value in row.items()
        if name != "prompt" and not is_left_out(value)
    }


@contextmanager
def about(number: int, field: str = "") -> Iterator[None]:
    """Say in an error which row it is about; 1 is the first, 0 is the batch as a whole."""
    try:
        yield
    except ImagemillError as error:
        if number:
            error.message = (
                f"{' '.join(filter(None, (f'prompt {number}', field)))}: {error.message}"
            )
        raise
