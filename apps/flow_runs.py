"""What a Prefect server says of our flow runs: those waiting for a worker, those whose process died."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from apps.prefect_server import speaking_to
from imagemill.errors import ServiceError

WORK_POOL, GPU_POOL = "mill", "gpu"
LATE = timedelta(seconds=15)
"""A worker asks for work every 10 s (Prefect 3.8, `worker_query_seconds`): whoever waits longer
waits for a worker."""


async def waiting_for_a_worker(url: str, pool: str = WORK_POOL) -> int:
    """Count deployments' runs of a pool on the server at `url` that are due and that nobody takes.

    Raises:
        ServiceError: The Prefect server does not answer.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType

    due = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC) - LATE),
    )
    of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    try:
        with speaking_to(url):
            async with get_client() as client:
                return len(
                    await client.read_flow_runs(
                        flow_run_filter=due, work_pool_filter=of_pool, limit=200
                    )
                )
    except httpx.HTTPError as error:
        raise ServiceError(
            f"The Prefect server does not tell its runs ({type(error).__name__}).",
            remedy="`imagemill status` shows whether it runs.",
        ) from error


async def mark_crashed(url: str, run_id: str) -> bool:
    """Mark a flow run crashed whose process is gone; False when the server has it otherwise.

    Raises:
        ServiceError: The Prefect server does not answer.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import State
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    try:
        flow_run_id = UUID(run_id)
    except ValueError:
        return False  # of another kind: no flow run has such an id
    try:
        with speaking_to(url):
            async with get_client() as client:
                found = await client.read_flow_run(flow_run_id)
                if not found.state or not found.state.is_running():
                    return False
                gone: State[object] = Crashed(message="imagemill doctor: its process is gone.")
                await client.set_flow_run_state(flow_run_id, gone, force=True)
                return True
    except ObjectNotFound:
        return False
    except httpx.HTTPError as error:
        raise ServiceError(
            f"The Prefect server does not take the end of a run ({type(error).__name__}).",
            remedy="`imagemill status` shows whether it runs.",
        ) from error


def gpu_worker_is_online() -> bool:
    """Whether a worker of the pool `gpu` told the configured Prefect server that it lives."""
    import httpx
    from prefect.settings import get_current_settings

    url = f"{get_current_settings().api.url}/work_pools/gpu/workers/filter"
    try:
        found = httpx.post(url, json={}, timeout=10).raise_for_status().json()
    except httpx.HTTPError:
        return True  # nobody knows: the run itself will say
    return any(worker.get("status") == "ONLINE" for worker in found)
