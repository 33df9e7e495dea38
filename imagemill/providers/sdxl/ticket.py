"""One image that was asked of the engine: where it is, who is told, and how failures are told."""

import copy
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

from imagemill.errors import ImagemillError, ProviderError
from imagemill.providers.sdxl.frame import Frame
from imagemill.request import ImageRequest


@dataclass
class Ticket:
    """One image that was asked for: where it is, and who is told."""

    frame: Frame
    future: "Future[Frame]" = field(default_factory=Future)
    since_s: float = field(default_factory=time.monotonic)
    left: bool = False

    def leave(self) -> None:
        """Nobody waits for it any more: it is not drawn, or the call ends at its next step."""
        self.left = True
        self.future.cancel()


def fail(tickets: Sequence[Ticket], error: BaseException) -> None:
    """Tell those who wait why there is no picture. What is not of the house is told by its type."""
    told = error
    if not isinstance(error, ImagemillError):
        told = ProviderError(
            f"Drawing failed: {type(error).__name__}.",
            remedy="Look at the worker's GPU (nvidia-smi); restart the worker if it goes on.",
        )
    told = bare(told)
    for ticket in tickets:
        with suppress(InvalidStateError):  # nobody waits for it any more
            # A copy each: whoever raises it hangs his own stack on it.
            ticket.future.set_exception(copy.copy(told))


def bare(error: BaseException) -> BaseException:
    """Return the error without stacks, its causes' too: a stack holds the tensors of its frames."""
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        if (each := todo.pop()) is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            todo += [each.__cause__, each.__context__]
    return error


def seed_of(request: ImageRequest) -> int:
    """Return the seed that was asked for, or one that follows from the request.

    The same request is the same picture again, and another sample of it is another one. How it is
    drawn does not count: alone or in a batch, with more steps or another LoRA, the noise is the same.
    """
    if request.seed is not None:
        return request.seed
    asked = request.model_copy(update={"diffusion": None})
    return int(asked.key[:8], 16) % 2**31
