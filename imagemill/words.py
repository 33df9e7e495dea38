"""What a model that answers in words is: a Protocol and what it returns, whoever serves it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from imagemill.cost import Usage


class Written(BaseModel):
    """An answer in words. `whole` is False when it was cut off or is empty."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    text: str = Field(repr=False)
    whole: bool
    finish_reason: str
    cost_usd: Decimal = Field(ge=0)
    usage: Usage
    model: str


class Words(Protocol):
    """A text model behind one door. One request a question, never resent inside."""

    async def write(
        self, prompt: str, *, pictures: Sequence[bytes] = (), schema: type[BaseModel] | None = None
    ) -> Written:
        """Ask once; with `schema` for JSON of its shape, which the asker validates.

        Raises:
            ContentBlocked: a filter refused question or answer; `cost_usd` is what it billed.
            AnswerLost: it may have been billed; `cost_usd` is the worst case.
            ProviderError: or another of its family: nothing was billed; retry if it says so.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class PricedWords(Words, Protocol):
    """Words whose worst case is known before they are asked: what the ledger reserves."""

    @property
    def name(self) -> str:
        """The model, as the catalog or its server calls it."""
        ...

    def worst_case_usd(self, prompt: str, *, pictures: int = 0) -> Decimal:
        """Return the most one question can bill, in USD."""
        ...
