"""What a run's state says, and what a Python caller gets."""

from collections.abc import Callable, Coroutine
from typing import Any, cast

from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from imagemill.errors import BudgetExceeded
from imagemill.publishing import run_state
from imagemill.request import BatchResult


def outcome(result: BatchResult) -> Any:  # noqa: ANN401 - a State, which Prefect turns into the run's
    """Return the state a batch ends in: failed only when nothing succeeded."""
    return ended(result, result.to_json(), noun="images")


def ended(result: BatchResult, data: dict[str, Any], *, noun: str) -> Any:  # noqa: ANN401 - a State, which Prefect turns into the run's
    """Return the state a run ends in, with `data` for its caller; `noun` is what it makes."""
    one = noun.removesuffix("s") if result.total == 1 else noun
    counts = f"{result.success_count} of {result.total} {one}"
    if run_state(result) == "cancelled":
        return Cancelled(
            message=f"Stopped after {counts}; the same batch again goes on.", data=data
        )
    if not result.success_count:
        return Failed(message=f"None of {result.total} {one} was made.", data=data)
    if any(image.error_class == BudgetExceeded.error_class for image in result.results):
        counts = f"The budget is used up after {counts}; resume the run with a higher one"
        return Completed(name="CompletedWithFailures", message=f"{counts}.", data=data)
    if result.failure_count:
        return Completed(name="CompletedWithFailures", message=f"{counts} made.", data=data)
    return Completed(message=f"{counts} made.", data=data)


class BatchFlow(Flow[Any, Any]):
    """A flow whose direct call returns the result even when its state is failed.

    Prefect raises for a failed state; here a batch in which nothing succeeded is still an answer
    that says what happened to each image (B5, B10). Errors at the door are raised as ever.
    """

    def __call__(self, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:  # noqa: ANN401
        """Run; return the result's dict, or the state when `return_state`."""
        run = super().__call__(*args, return_state=True, **kwargs)
        return run if return_state else _unwrapped(cast("Coroutine[Any, Any, State[Any]]", run))


def batch_flow(**options: Any) -> Callable[[Callable[..., Any]], BatchFlow]:  # noqa: ANN401
    """Make a function a `BatchFlow`; takes what `prefect.flow` takes."""
    return lambda body: BatchFlow(body, **options)


async def _unwrapped(run: Coroutine[Any, Any, State[Any]]) -> Any:  # noqa: ANN401
    state = await run
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise result
    return result
