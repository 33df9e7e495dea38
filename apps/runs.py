"""Starts runs, for every door: in this process, or by a deployment on a Prefect server.

The only module of `apps` that knows the flows, and it imports them late: where Prefect's server is
must be settled before Prefect is imported.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from apps.flow_runs import gpu_worker_is_online
from imagemill.workshop import Progress, on_progress, stop_sending

QUIET = {
    # Each failing attempt would print a traceback through the progress bar; the Prefect UI and the
    # run's log there keep them all.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


class Runs(Protocol):
    """What a door needs."""

    def batch(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Run a batch to its end and return its result."""
        ...

    def resume(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with an earlier run to its end and return the result."""
        ...


class LocalRuns:
    """Runs flows in this process.

    Args:
        environment: Addresses of the services (`Services.environment()`).
        listener: Told after every image.
        say: Told in one line what a Ctrl-C does.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        listener: Callable[[Progress], None] | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        os.environ.update({**QUIET, **environment})  # noqa: TID251 - Prefect reads it at import
        self._listener = listener
        self._say = say

    def batch(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Run the batch flow with these parameters and return its result as a dict.

        Raises:
            ImagemillError: the batch cannot be made as asked; nothing was sent.
        """
        from flows.batch import generate_images_batch

        return self._run(generate_images_batch, fields)

    def pack(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Run the pack flow with these parameters and return its result as a dict.

        Raises:
            ImagemillError: the pack cannot be made as asked; nothing was sent.
        """
        from flows.pack import generate_pack

        return self._run(generate_pack, fields)

    def route(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Make a prompt of a text and return how it was found.

        Raises:
            ImagemillError: it cannot be made; what was billed is in the ledger.
        """
        from flows.route import route_text

        return self._run(route_text, fields)

    def sdxl(self, fields: Mapping[str, Any], *, workers: int | None = None) -> dict[str, Any]:
        """Draw on this machine's GPU, or spread over `workers` of the pool (0 is all of it).

        Raises:
            ImagemillError: it cannot be drawn as asked; nothing was.
        """
        if workers is None:
            from flows.sdxl import generate_by_sdxl

            return self._run(generate_by_sdxl, fields)
        from flows.spread import spread_by_sdxl

        if not gpu_worker_is_online():
            self._say(
                "No GPU worker is online; the run waits for one. `imagemill up --gpu` starts them."
            )
        return self._run(spread_by_sdxl, {**fields, "workers": workers})

    def warm(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Have a small batch made by the warm lane, and return its result as a dict.

        Raises:
            ImagemillError: it cannot be made as asked, or no lane runs.
        """
        from flows.sdxl import asked_batch
        from flows.warm import asked_warm

        return asyncio.run(asked_warm(asked_batch(**fields))).to_json()

    def resume(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with an earlier run and return the result of the whole batch.

        Raises:
            ImagemillError: there is no such run, or it is at work; nothing was sent.
        """
        from flows.resume import resume_run

        return self._run(resume_run, fields)

    def _run(
        self, flow: Callable[..., Awaitable[Any]], fields: Mapping[str, Any]
    ) -> dict[str, Any]:
        from prefect import tags

        # The tag lets the automation of deployments.bootstrap find runs whose process died.
        with _listening(self._listener), tags("imagemill"):
            result: dict[str, Any] = asyncio.run(_gently(flow, fields, say=self._say))
        return result


def serve_warm_lane() -> None:
    """Draw what the warm lane is asked for, in this process, until it is stopped."""
    from flows.warm import serve

    serve()


async def _gently(
    flow: Callable[..., Awaitable[Any]], fields: Mapping[str, Any], *, say: Callable[[str], None]
) -> Any:  # noqa: ANN401
    """Run a flow so that the first Ctrl-C lets what is on the wire come in; the second aborts.

    A request that is torn off may be billed and nobody would get the picture.
    """
    loop, running = asyncio.get_running_loop(), asyncio.current_task()
    pressed = 0

    def interrupted() -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1 and stop_sending():
            say("Stopping: what is on the wire comes in first. Ctrl-C again aborts.")
        elif running:
            running.cancel()

    with suppress(NotImplementedError, ValueError):  # no such signals here, or not the main thread
        loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        return await flow(**fields)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def save_demo_block(
    *, unavailable_once: list[str], rate_limited_once: list[str], blocked: list[str]
) -> None:
    """Save the block `sketch/demo`, which breaks on purpose for these prompt digests."""
    from blocks.provider import Sketch

    async def save() -> None:
        block = Sketch(
            latency_s=0.2, unavailable_once=unavailable_once,
            rate_limited_once=rate_limited_once, blocked=blocked,
        )  # fmt: skip
        await block.asave("demo", overwrite=True)

    asyncio.run(save())


@contextmanager
def _listening(listener: Callable[[Progress], None] | None) -> Iterator[None]:
    token = on_progress.set(listener)
    try:
        yield
    finally:
        on_progress.reset(token)
