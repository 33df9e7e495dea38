"""One circuit breaker a provider and model in a process: whoever is unwell is left alone a while.

Closed, everybody may ask. After some failures in a row it is open, and a run that has another
provider asks there. After the cool-down one request is let through to look (half-open): when it
goes well the breaker is closed again, when not it stays open for another cool-down.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imagemill.errors import (
    AnswerLost,
    ImagemillError,
    ProviderUnavailable,
    RateLimited,
)

FAILURES_TO_OPEN = 5
"""In a row. One image's retries over 15 s (`routing.MOST_ATTEMPTS`) are as many: what would fail
an image opens the breaker, a blip that one retry gets over does not."""

COOL_DOWN_S = 30.0
"""From opening to the next look: twice the 15 s in which one image's retries give up. A dead
provider then costs one image in half a minute a detour, and one that came back is soon found."""

UNWELL = (ProviderUnavailable, RateLimited, AnswerLost)
"""What speaks against a provider. A lost answer does: each may cost its full price for nothing."""


@dataclass(eq=False)
class Turn:
    """One request on its way. `probe` is the one look at a provider whose breaker is open."""

    sent_at: float
    probe: bool = False


class CircuitBreaker:
    """Remembers how the last requests to one provider's model went.

    It never refuses by itself: `lets_through` is advice for whoever has a choice.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._counted_at = float("-inf")
        self._opened_at: float | None = None
        self._probing: Turn | None = None

    @property
    def is_open(self) -> bool:
        """Whether the provider is taken for unwell, also while somebody looks again."""
        return self._opened_at is not None

    def lets_through(self) -> bool:
        """Whether a request should go this way now: closed, or the one look is due."""
        return self._opened_at is None or self._look_is_due()

    def _look_is_due(self) -> bool:
        cooled = self._opened_at is not None and (self._clock() >= self._opened_at + COOL_DOWN_S)
        return cooled and self._probing is None

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Hold while a request is made. A look that ends without a verdict lets the next one look."""
        turn = Turn(sent_at=self._clock(), probe=self._look_is_due())
        if turn.probe:
            self._probing = turn
        try:
            yield turn
        finally:
            if self._probing is turn:
                self._probing = None

    def answered(self) -> None:
        """It answered: it is well, whatever it said, also when the request was an old one."""
        self._failures = 0
        self._opened_at = None

    def failed(self, error: ImagemillError, turn: Turn) -> None:
        """Count what speaks against it.

        Of 429s that answer one burst one counts: later ones only when they were sent after it, so
        after the pause that it asked for did not help.
        """
        if not isinstance(error, UNWELL):
            self.answered()
            return
        old = isinstance(error, RateLimited) and turn.sent_at < self._counted_at
        if old and not turn.probe:
            return
        self._counted_at = self._clock()
        self._failures += 1
        if turn.probe or (self._opened_at is None and self._failures >= FAILURES_TO_OPEN):
            self._opened_at = self._clock()


_breakers: dict[str, CircuitBreaker] = {}


def breaker_of(route: str, model: str) -> CircuitBreaker:
    """Return the breaker all runs of this process share for a provider block's model."""
    return _breakers.setdefault(f"{route}/{model}", CircuitBreaker())


def forget_breakers() -> None:
    """Take every provider for well again; tests start from there."""
    _breakers.clear()
