"""`imagemill doctor` finds and frees what a killed process left: money, run, slots. The living are left alone."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from prefect import flow, tags
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed, Scheduled
from typer.testing import CliRunner

from apps.checkup import checkup
from apps.cli import app
from apps.cli.screen import screen
from apps.flow_runs import WORK_POOL
from apps.leftovers import find_leftovers
from apps.slots import release
from blocks.settings import Settings
from tests.flows.test_crash import AT_ONCE, command, count  # noqa: F401 - a fixture

LIMIT = "imagemill-gemini"


def active_slots() -> int:
    async def asked() -> int:
        async with get_client() as client:
            limit = await client.read_global_concurrency_limit_by_name(LIMIT)
            return int(limit.active_slots)

    return asyncio.run(asked())


def left_behind() -> str:
    return next(finding.found for finding in checkup(Settings()) if finding.what == "left behind")


def end_earlier_runs() -> None:
    """Say of runs that other tests killed what the heartbeat automation says after 75 s."""

    async def ended() -> None:
        async with get_client() as client:
            running = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING]))
            for run in await client.read_flow_runs(flow_run_filter=FlowRunFilter(state=running)):
                await client.set_flow_run_state(run.id, Crashed(), force=True)

    asyncio.run(ended())


@pytest.fixture(autouse=True)
def _nothing_held(mill):
    """Other tests kill runs, too: what these held is released first."""
    end_earlier_runs()

    async def released() -> None:
        for limit in (await find_leftovers(Settings())).limits:
            await release(limit)

    asyncio.run(released())
    assert active_slots() == 0


@pytest.fixture
def freed(monkeypatch):
    """Run `imagemill doctor --free`; return what it says it did."""
    monkeypatch.setattr(screen, "width", 300)

    def run() -> list[str]:
        result = CliRunner().invoke(app, ["doctor", "--free"])
        assert result.exit_code == 0
        lines = [line.strip() for line in result.stderr.splitlines()]
        return [line.removeprefix("freed ") for line in lines if line.startswith("freed ")]

    return run


@pytest.mark.timeout(300)
def test_what_a_killed_run_held_is_found_and_freed_and_a_living_ones_is_not(
    mill, words, command, freed  # noqa: F811
):  # fmt: skip
    """kill -9 in mid-flight: each reservation is settled, the run crashed, its slots free at once."""
    mill.fake.script(latency_s=20)
    process = command(words(20))
    process.until(lambda: mill.fake.stats.requests >= AT_ONCE)
    assert active_slots() == AT_ONCE
    assert left_behind() == "nothing by dead processes"
    assert freed() == []
    assert active_slots() == AT_ONCE
    process.kill()
    process.wait()
    held = count(mill, "open")
    found = left_behind()
    assert f"{held} open reservation" in found
    assert "1 run marked running" in found
    assert f"{AT_ONCE} slots of {LIMIT}" in found
    said = freed()
    text = "\n".join(said)
    assert text.count("ambiguous; $") == held == count(mill, "ambiguous")
    assert f"limit {LIMIT}: {AT_ONCE} slots released" in text
    assert active_slots() == 0
    assert mill.rows("SELECT state FROM runs") == [("crashed",)]
    assert "crashed, in Prefect too; the same batch again finishes it" in text
    assert prefects_word(mill.rows("SELECT id FROM runs")[0][0]) == StateType.CRASHED
    assert left_behind() == "nothing by dead processes"
    mill.fake.reset()


def prefects_word(run_id: str) -> StateType:
    async def asked() -> StateType:
        async with get_client() as client:
            return (await client.read_flow_run(run_id)).state_type

    return asyncio.run(asked())


def test_a_run_that_no_worker_takes_is_seen_with_the_command_that_helps(mill):
    """A resume or a batch started in the UI while nobody works waits for ever, and says nothing."""

    @flow
    def idle() -> None:
        """Never run."""

    async def queued(minutes: int) -> str:
        async with get_client() as client:
            deployment_id = await client.create_deployment(
                flow_id=await client.create_flow(idle), name="idle", work_pool_name=WORK_POOL
            )
            at = datetime.now(UTC) + timedelta(minutes=minutes)
            run = await client.create_flow_run_from_deployment(
                deployment_id, state=Scheduled(scheduled_time=at)
            )
            return run.id

    async def forgotten(run_id) -> None:
        async with get_client() as client:
            await client.delete_flow_run(run_id)

    def deployments():
        return next(finding for finding in checkup(Settings()) if finding.what == "deployments")

    for minutes, found in ((5, "no run waits for a worker"), (-5, "1 run of a deployment waiting")):
        run_id = asyncio.run(queued(minutes))
        try:
            assert found in deployments().found
            assert ("imagemill up" in deployments().remedy) == (minutes < 0)
        finally:
            asyncio.run(forgotten(run_id))


def take(slots: int, *, lease: bool) -> None:
    async def taken() -> None:
        async with get_client() as client:
            if lease:
                await client.increment_concurrency_slots_with_lease(
                    names=[LIMIT], slots=slots, mode="concurrency", lease_duration=60
                )
            else:
                await client.increment_concurrency_slots(
                    names=[LIMIT], slots=slots, mode="concurrency"
                )

    asyncio.run(taken())


def test_a_run_of_another_ledger_may_hold_slots_so_they_are_left_alone(mill, freed):
    """Somebody on another machine, with a ledger of their own, uses the same server."""

    @flow(flow_run_name="somebody else's")
    def batch() -> int:
        return len(asyncio.run(find_leftovers(Settings())).limits)

    take(2, lease=True)
    with tags("imagemill"):
        assert batch() == 0
    with tags("imagemill", "webhooks"):
        assert batch() == 1
    assert freed() == [f"limit {LIMIT}: 2 slots released; nobody alive held them"]


def test_slots_whose_lease_the_server_forgot_are_released_too(mill, freed):
    """Some by lease, some by number only: afterwards none is taken, and none is released twice."""
    take(2, lease=True)
    take(3, lease=False)
    (stuck,) = asyncio.run(find_leftovers(Settings())).limits
    assert (stuck.name, stuck.slots, [slots for _, slots in stuck.leases]) == (LIMIT, 5, [2])
    assert freed() == [f"limit {LIMIT}: 5 slots released; nobody alive held them"]
    assert active_slots() == 0
