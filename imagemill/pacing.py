"""One pacer a provider and model in a process: everybody slows down together.

A 429 pauses all senders until the provider's own retry-after and halves how many may be in flight;
every success gives a little back (additive increase, multiplicative decrease, as TCP does).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Without a retry-after the pause doubles from the first to the longest."""


class Pacer:
    """Admits requests to one provider model.

    Args:
        ceiling: Most requests in flight, 1 or more.
        clock: Seconds, monotonic.
        sleep: Waits that many seconds; tests pass their own.
    """

    def __init__(
        self,
        ceiling: int = 100,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.ceiling = float(ceiling)
        self.allowed = float(ceiling)
        self.in_flight = 0
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._sleep = sleep
        self._paused_until = float("-inf")
        self._next_pause_s = FIRST_PAUSE_S
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a pause to end and for room, then hold one place in flight."""
        await self._enter()
        try:
            yield
        finally:
            self.in_flight -= 1
            async with self._changed:
                self._changed.notify_all()

    def slow_down(self, retry_after_s: float | None) -> float:
        """The provider said 429: pause everybody. Returns the pause in seconds."""
        pause_s = self._next_pause_s if retry_after_s is None else max(retry_after_s, 0.0)
        if retry_after_s is None:
            self._next_pause_s = min(self._next_pause_s * 2, LONGEST_PAUSE_S)
        self._paused_until = max(self._paused_until, self._clock() + pause_s)
        self.allowed = max(1.0, self.allowed / 2)
        return pause_s

    def went_well(self) -> None:
        """A request succeeded: give back a little."""
        self._next_pause_s = FIRST_PAUSE_S
        self.allowed = min(self.ceiling, self.allowed + 1 / self.allowed)

    async def _enter(self) -> None:
        while True:
            remaining = self._paused_until - self._clock()
            if remaining > 0:
                await self._sleep(remaining)
                continue
            if self.in_flight < max(1, int(self.allowed)):
                self.in_flight += 1
                return
            async with self._changed:
                if self.in_flight >= max(1, int(self.allowed)):
                    await self._changed.wait()


_pacers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Pacer]] = WeakKeyDictionary()


def pacer_of(provider: str, model: str, ceiling: int | None) -> Pacer:
    """Return the pacer all runs of this event loop share for a provider's model."""
    pacers = _pacers.setdefault(asyncio.get_running_loop(), {})
    return pacers.setdefault(f"{provider}/{model}", Pacer(ceiling or 100))
