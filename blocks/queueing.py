"""Runs that one process asks for and another one makes: what passes between them is an id."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from blocks.settings import Settings
from blocks.workshop import Opening
from imagemill.errors import ImagemillError
from imagemill.following import TROUBLE, followed, result_of_row
from imagemill.ledger import Ledger, RunRow, open_ledger
from imagemill.ledger.values import CUT_OFF
from imagemill.request import BatchRequest, BatchResult
from imagemill.resuming import resumed_batch

TAKEN_WITHIN_S = 30.0
"""How long a queued run waits for its lane: a task worker takes a new task within 2 s when it runs
(facts/prefect_proto.md), and its own start is seconds."""


@contextmanager
def _ledger(settings: Settings | None = None) -> Iterator[Ledger]:
    ledger = open_ledger((settings or Settings()).ledger_url)
    try:
        yield ledger
    finally:
        ledger.close()


async def queue_batch(batch: BatchRequest) -> str:
    """Write a batch as a run that waits; returns its id."""
    run_id = str(uuid4())
    with _ledger() as ledger:
        now = ledger.now()
        await ledger.queue_run(
            RunRow(
                id=run_id, kind="batch", lineage=run_id, batch_digest=batch.digest, state="queued",
                holder="", provider=batch.provider, model=batch.model,
                total=len(batch.prompts) * batch.samples, request=batch.model_dump_json(),
                created_at=now, heartbeat_at=now,
            )
        )  # fmt: skip
    return run_id


async def queued_batch(run_id: str) -> tuple[BatchRequest, Opening]:
    """Return what a waiting run asks for.

    Raises:
        ImagemillError: there is no such run, or it has ended: nobody waits for it any more.
    """
    with _ledger() as ledger:
        row = await ledger.run(run_id)
    # One that was cut off goes on; of one that came to an end nobody wants more.
    if row is None or (row.ended_at is not None and row.state not in CUT_OFF):
        what = "knows no" if row is None else "has the end of"
        raise ImagemillError(f"The ledger {what} run {run_id[:64]}.", remedy="Ask again.")
    batch = resumed_batch(row)
    return batch, Opening(run_id)


async def could_not_begin(run_id: str, error: ImagemillError) -> None:
    """End a waiting run that was refused at the door, so that whoever waits for it hears why."""
    with _ledger() as ledger:
        said = {TROUBLE: error.message, "remedy": error.remedy, "class": error.error_class}
        row = await ledger.run(run_id)
        if row is not None and row.ended_at is None:
            await ledger.end_run(run_id, "failed", said)


async def result_when_done(run_id: str, *, within_s: float = TAKEN_WITHIN_S) -> BatchResult | None:
    """Wait for a run and return its result; None when its process died.

    Raises:
        ImagemillError: it was refused, or nobody took it.
    """
    with _ledger() as ledger:
        row = await followed(ledger, run_id, within_s=within_s)
        if row is None:
            await ledger.end_run(run_id, "crashed", None)  # else its dead process is seen again
            return None
        return await result_of_row(ledger, row)
