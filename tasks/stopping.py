"""SIGTERM: a cancellation in the Prefect UI, a worker that shuts down, a machine that goes away."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imagemill.workshop import stop_sending

GRACE_S = 20.0
"""Prefect's worker kills a run's process 30 s after it asked it to end (prefect 3.8,
`runner._process_manager.kill`); what is paid must be on disk, and the run closed, before."""


@asynccontextmanager
async def gentle_stop(grace_s: float = GRACE_S) -> AsyncIterator[None]:
    """On the first SIGTERM send nothing more and let what is on the wire come in.

    After `grace_s`, or on the second one, the flow is cancelled: what is torn off is ambiguous.
    Where signals cannot be caught (not the main thread, Windows) Prefect's own handling stays.
    """
    loop, running = asyncio.get_running_loop(), asyncio.current_task()
    deadline: asyncio.TimerHandle | None = None

    def terminated() -> None:
        nonlocal deadline
        if running and (deadline or not stop_sending()):
            running.cancel()
        elif running:
            deadline = loop.call_later(grace_s, running.cancel)

    try:
        before = signal.getsignal(signal.SIGTERM)
        loop.add_signal_handler(signal.SIGTERM, terminated)
    except (NotImplementedError, ValueError, RuntimeError):
        yield
        return
    try:
        yield
    finally:
        if deadline:
            deadline.cancel()
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
