"""How long is waited for one image, and the clock that says when that is over."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from imagemill.errors import ProviderUnavailable


@dataclass(frozen=True)
class Patience:
    """How long is waited for what.

    Attributes:
        run_s: For one image, from when the server begins it.
        queue_s: For others' images before it.
        away_s: For a server that stopped answering, while an image is on it.
        first_pause_s: Between two questions; grows to `longest_pause_s`.
    """

    run_s: float = 300.0
    queue_s: float = 1_800.0
    away_s: float = 45.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 2.0


class Clock:
    """The deadlines of one image: its own time counts from when the server begins it.

    Args:
        patience: How long is waited.
        clock: Seconds, monotonic.
    """

    def __init__(self, patience: Patience, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        self._queued_at = clock()
        self._began_at: float | None = None
        self._away_since: float | None = None

    def late(self, place: str) -> ProviderUnavailable | None:
        """Return the error for an image that took too long, by where it is now."""
        self._away_since = None
        now = self._clock()
        if place == "running" and self._began_at is None:
            self._began_at = now
        if self._began_at is not None and now - self._began_at > self._patience.run_s:
            return ProviderUnavailable(
                f"The image took ComfyUI longer than {self._patience.run_s:g} s and was cancelled.",
                remedy="Raise the block's timeout_s, or take fewer steps or a smaller size.",
            )
        if self._began_at is None and now - self._queued_at > self._patience.queue_s:
            return ProviderUnavailable(
                f"The image waited {self._patience.queue_s:g} s behind others at ComfyUI.",
                remedy="Ask again when the server has less to do.",
            )
        return None

    def away(self, error: ProviderUnavailable) -> None:
        """Count the time since the server last answered; a restart takes some ten seconds.

        Raises:
            ProviderUnavailable: `error`, when that is too long.
        """
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since > self._patience.away_s:
            raise error
