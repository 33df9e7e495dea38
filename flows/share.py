"""A run that another one asked for: it waits in the ledger, and its id is all that is passed."""

from typing import Any

from blocks.queueing import could_not_begin, queued_batch
from flows.batch import made
from flows.form import RunName
from flows.outcome import batch_flow, outcome
from imagemill.errors import ImagemillError


@batch_flow(name="queued-run", validate_parameters=False, persist_result=False)
async def draw_queued(run: RunName) -> Any:  # noqa: ANN401 - a dict to the caller, a State to Prefect
    """Make a run that waits in the ledger: a share of a batch that is spread over several workers.

    Args:
        run: Its id. Started again after its worker died it goes on where that one stopped.

    Raises:
        ImagemillError: there is no such run, or it cannot be made here; nothing was drawn.
    """
    batch, opening = await queued_batch(run)
    try:
        return outcome(await made(batch, opening))
    except ImagemillError as refused:
        await could_not_begin(run, refused)
        raise
