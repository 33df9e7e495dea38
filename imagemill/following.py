"""Waiting for a run that another process makes: the ledger's row is the answer, nothing else is."""

import asyncio
import json
import time

from imagemill.errors import ProviderUnavailable, error_named
from imagemill.ledger import Ledger, RunRow
from imagemill.ledger.runs import is_gone
from imagemill.request import BatchResult

POLL_S = 0.1
"""How often the row is read: a hundredth of what one image takes."""

TROUBLE = "trouble"
"""In the summary of a run that never began: what its process said."""


async def followed(
    ledger: Ledger, run_id: str, *, within_s: float, poll_s: float = POLL_S
) -> RunRow | None:
    """Wait until a run has ended, and return its row; None when its process is gone.

    Args:
        ledger: Where it is written.
        run_id: Its id.
        within_s: How long it may wait for somebody to take it.
        poll_s: How often it is looked at.

    Raises:
        ProviderUnavailable: nobody took it in time.
    """
    deadline = time.monotonic() + within_s
    while True:
        row = await ledger.run(run_id)
        if row is not None and row.ended_at is not None and row.state != "crashed":
            return row
        taken = row is not None and row.state == "running"
        if taken and row is not None and is_gone(row, now=ledger.now()):
            return None
        if not taken and time.monotonic() > deadline:
            raise ProviderUnavailable(
                f"Nobody took run {run_id} within {within_s:g} s.",
                remedy="Start the lane that draws it: `imagemill up --gpu`.",
            )
        await asyncio.sleep(poll_s)


def check_begun(row: RunRow) -> None:
    """Raise what a run that was refused at its door had to say, as the error that it was.

    Raises:
        ImagemillError: it never began.
    """
    summary = json.loads(row.summary or "{}")
    if TROUBLE in summary:
        kind = error_named(summary.get("class", ""))
        raise kind(summary[TROUBLE], remedy=summary.get("remedy", ""))


async def result_of_row(ledger: Ledger, row: RunRow) -> BatchResult:
    """Return the result of a run that has ended.

    Raises:
        ImagemillError: it never began; what its process said, in its words.
    """
    check_begun(row)
    images = tuple(await ledger.items(row.id))
    return BatchResult(**{**json.loads(row.summary or "{}"), "results": images})
