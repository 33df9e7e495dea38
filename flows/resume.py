"""Go on with a run that crashed, was stopped, ran out of budget or had failures."""

from typing import Any

from blocks.workshop import Opening, earlier_run
from flows.batch import made
from flows.form import Budget, OnlyClasses, ResendAmbiguous, RunName
from flows.outcome import batch_flow, outcome
from imagemill.resuming import checked_classes, resumed_batch
from tasks.naming import deployment_name, run_id


@batch_flow(name="resume-run", validate_parameters=False, persist_result=False)
async def resume_run(
    run: RunName = "",
    only: OnlyClasses = None,
    resend_ambiguous: ResendAmbiguous = False,
    max_cost_usd: Budget = None,
) -> Any:  # noqa: ANN401 - a dict to the caller, a State to Prefect (flows.outcome)
    """Make what an earlier run did not deliver. What that one paid costs nothing, however old.

    Args:
        run: Id of the run, or its first characters; empty for the newest that is not complete.
        only: Error classes to try again, such as rate_limited or unavailable; empty for everything
            that was not delivered.
        resend_ambiguous: Pay for another attempt where an answer was lost on the way.
        max_cost_usd: The most that the run and what continues it may cost, all together; empty
            keeps the run's own budget.

    Returns:
        As generate_images_batch does, for all images of the batch.

    Raises:
        RequestError: no such run, it is at work, or no such error class; nothing was sent.
    """
    classes = checked_classes(only or ())
    earlier = await earlier_run(run)
    batch = resumed_batch(earlier, resend_ambiguous=resend_ambiguous, max_cost_usd=max_cost_usd)
    opening = Opening(run_id(), deployment_name(), continues=earlier.id, only=classes)
    return outcome(await made(batch, opening))
