"""One text at the style router, and who pays for the model that reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemill.asking import PaidWords, Speaker
from imagemill.errors import LedgerError, RequestError
from imagemill.request import MAX_BUDGET_USD
from imagemill.style_router.route import StyleRouter
from imagemill.style_router.values import MAX_TEXT_CHARS, MAX_USER_INPUT_CHARS, RoutedPrompt
from imagemill.workshop import Workshop


class RouteOrder(BaseModel):
    """A text that is to become a prompt; see the form in `flows.route`."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS, repr=False)]
    user_input: Annotated[str, Field(max_length=MAX_USER_INPUT_CHARS, repr=False)] = ""
    words: Annotated[str, Field(max_length=200)] = "auto"
    max_cost_usd: Annotated[Decimal | None, Field(ge=0, le=MAX_BUDGET_USD)] = None
    reuse_within_s: Annotated[int, Field(ge=0)] = 900


def checked_route(**fields: Any) -> RouteOrder:  # noqa: ANN401 - this is where input is checked
    """Return the order, or say what is wrong with it. Never echoes words.

    Raises:
        RequestError: names each field at fault; nothing was sent.
    """
    try:
        return RouteOrder(**fields)
    except ValidationError as error:
        found = error.errors(include_input=False, include_context=False, include_url=False)
        problems = "; ".join(f"{'.'.join(map(str, e['loc'][:1]))}: {e['msg']}" for e in found)
    raise RequestError(
        f"The text cannot be routed: {problems}.", remedy="Nothing was sent; correct it."
    )


@dataclass
class Desk:
    """What one routing works with. `shop` and `speaker` are None where rules find the keywords."""

    order: RouteOrder
    shop: Workshop | None = None
    speaker: Speaker | None = None

    async def route(self) -> RoutedPrompt:
        """Route the text; see `StyleRouter.route`."""
        words = None
        if self.shop and self.speaker:
            words = PaidWords(self.shop, self.speaker, kind="route")
        return await StyleRouter(words).route(self.order.text, self.order.user_input)


_open: dict[str, Desk] = {}


def desk_of(run_id: str) -> Desk:
    """Return the open desk of a run in this process.

    Raises:
        LedgerError: the run is not open here.
    """
    try:
        return _open[run_id]
    except KeyError:
        raise LedgerError(f"Run {run_id} routes no text in this process.") from None


@contextmanager
def manned(run_id: str, desk: Desk) -> Iterator[None]:
    """Make the desk findable while the body runs."""
    _open[run_id] = desk
    try:
        yield
    finally:
        _open.pop(run_id, None)
