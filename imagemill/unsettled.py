"""Which reservations of a run have no outcome yet, and a wait for the next one that gets it."""

import asyncio


class Unsettled:
    """This run's open reservations; somebody may wait until one of them settles."""

    def __init__(self) -> None:
        self.outcomes = 0
        self._open: set[int] = set()
        self._settled = asyncio.Event()

    def __bool__(self) -> bool:
        """Tell whether any is open."""
        return bool(self._open)

    def opened(self, reservation_id: int) -> None:
        """One more is open."""
        self._open.add(reservation_id)

    def settled(self, reservation_id: int) -> None:
        """It has its outcome; whoever waits looks again."""
        self._open.discard(reservation_id)
        self.outcomes += 1
        self._settled.set()
        self._settled = asyncio.Event()

    async def next(self) -> None:
        """Wait until one settles."""
        await self._settled.wait()
