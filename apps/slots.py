"""Slots of imagemill's Prefect limits that nobody alive holds: found, and released.

Prefect frees a dead holder's slots when its lease runs out (5 minutes), but not when it forgot the
lease (leases in memory, server restarted). Its API shows how many slots are taken, not by whom
(3.8.8); the leases of the server in imagemill's own home lie in files, so these are released by name.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from imagemill.errors import ServiceError
from imagemill.ledger import Ledger

PREFIX = "imagemill-"
FLOWS = ["generate-images-batch"]
TAG = "imagemill"
HELD_S = 1.0
"""Prefect wants to know how long a slot was held, for its waiting times; nobody knows here."""


@dataclass(frozen=True)
class StuckLimit:
    """A limit whose slots are taken with nobody alive to hold them.

    Attributes:
        leases: Those known, with the slots of each; they end for good when released.
    """

    name: str
    slots: int
    leases: tuple[tuple[UUID, int], ...] = ()


async def stuck_limits(ledger: Ledger, *, home: Path) -> list[StuckLimit]:
    """Return limits with taken slots and no live run that could hold them.

    The slots are read before the runs: a run is in the ledger before it takes a slot, so whoever
    took one of those seen is seen, too.

    Raises:
        ServiceError: The Prefect server does not answer.
    """
    import httpx
    from prefect.client.orchestration import get_client

    try:
        async with get_client() as client:
            taken = [
                limit
                for limit in await client.read_global_concurrency_limits(limit=200, offset=0)
                if limit.name.startswith(PREFIX) and limit.active_slots > 0
            ]
            if not taken:
                return []
            leases = {limit.name: tuple(_leases(home, limit.id)) for limit in taken}
            if await _somebody_elses(client, ledger):
                return []
    except httpx.HTTPError as error:
        raise ServiceError(
            f"The Prefect server does not tell its limits ({type(error).__name__}).",
            remedy="`imagemill status` shows whether it runs.",
        ) from error
    living = {f"{PREFIX}{run.provider}" for run in await ledger.living_runs()}
    return [
        StuckLimit(limit.name, int(limit.active_slots), leases[limit.name])
        for limit in taken
        if limit.name not in living
    ]


async def release(stuck: StuckLimit) -> None:
    """Release what `stuck_limits` saw: by lease where one is known, the rest by number."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        for lease_id, _ in stuck.leases:
            await client.release_concurrency_slots_with_lease(lease_id)
        rest = stuck.slots - sum(slots for _, slots in stuck.leases)
        if rest > 0:
            await client.release_concurrency_slots([stuck.name], rest, HELD_S)


def _leases(home: Path, limit_id: UUID) -> Iterator[tuple[UUID, int]]:
    """Read the lease files of the server in this home; those of another server have other limits."""
    for file in sorted((home / "prefect" / "concurrency_leases").glob("*-*.json")):
        try:
            lease: dict[str, Any] = json.loads(file.read_text("utf-8"))
            if str(limit_id) in lease["resource_ids"]:
                yield UUID(lease["id"]), int(lease["metadata"]["slots"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # renewed or released at this moment


async def _somebody_elses(client: Any, ledger: Ledger) -> bool:  # noqa: ANN401 - imported late
    """Whether the server runs a batch that this ledger does not know to be over or dead."""
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        FlowRunFilterTags,
    )
    from prefect.client.schemas.objects import StateType

    going_on = FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING])
    )
    tagged = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=going_on, tags=FlowRunFilterTags(all_=[TAG]))
    )
    named = await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=FLOWS)),
        flow_run_filter=FlowRunFilter(state=going_on),
    )
    # The outbox' runs are ours and hold no slot.
    batches = {str(run.id) for run in [*tagged, *named] if "webhooks" not in run.tags}
    for run_id in batches:
        if await ledger.run(run_id) is None:
            return True
    return False
