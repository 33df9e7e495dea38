"""Go on with a run that crashed, was stopped, ran out of budget or had failures."""

from typing import Any

from blocks.studio import ASSETS, PACK
from blocks.workshop import Opening, earlier_run
from flows.asset import made as made_assets
from flows.batch import made
from flows.form import Budget, OnlyClasses, ResendAmbiguous, RunName
from flows.outcome import batch_flow, ended, outcome
from flows.pack import made as made_pack
from imagemill.asset.order import resumed_order
from imagemill.pack.planning import resumed_pack
from imagemill.resuming import Limits, checked_classes, resumed_batch
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
        As generate_images_batch does, for all images of the batch; as generate_assets does, for
        all assets of a run of assets, and as generate_pack does for a pack or an animation;
        those go on as a whole (without `only`).

    Raises:
        RequestError: no such run, it is at work, or no such error class; nothing was sent.
    """
    classes = checked_classes(only or ())
    earlier = await earlier_run(run)
    opening = Opening(run_id(), deployment_name(), continues=earlier.id, only=classes)
    limits = Limits(resend_ambiguous=resend_ambiguous, max_cost_usd=max_cost_usd)
    if earlier.kind == PACK:
        pack = await made_pack(resumed_pack(earlier, limits, only=classes), opening)
        return ended(pack.assets.batch, pack.to_json(), noun="assets")
    if earlier.kind == ASSETS:
        result = await made_assets(resumed_order(earlier, limits, only=classes), opening)
        return ended(result.batch, result.to_json(), noun="assets")
    return outcome(await made(resumed_batch(earlier, limits), opening))
