"""What a Prefect server needs before imagemill can use it, made where it is missing.

Run as `python -m deployments.bootstrap [--deploy PREFECT_YAML]` with PREFECT_API_URL set. Running it
again changes nothing: what somebody adjusted in the UI (limits, a paused pool) stays.
"""

import argparse
import asyncio
import importlib
import inspect
import os
import pkgutil
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from prefect.automations import Automation
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

import blocks
from blocks.settings import Settings

WORK_POOL, GPU_POOL = "mill", "gpu"
# No limit on `gpu` either: each of its workers runs one at a time (`--limit 1`), so a second GPU is
# a second worker, and nobody counts GPUs in two places. Which GPU a worker has is its own variable
# CUDA_VISIBLE_DEVICES, which its runs inherit: set in the pool's template it would win over that.
POOLS = {
    WORK_POOL: "Whatever asks hosted models: any number of runs at once, on any machine.",
    GPU_POOL: "Local SDXL: one worker is one GPU and draws one run at a time (imagemill up --gpu).",
}
# A parent waits for its shards, so both must never share one limit: the pool has none (a pool limit
# counts parents and shards alike and was seen to deadlock), and parents queue one at a time.
QUEUE_LIMITS: dict[str, int | None] = {"parents": 1, "shards": None}
# Calls to a provider at once, over all runs of this server. A flow run takes its share once.
PROVIDER_LIMITS = {"imagemill-gemini": 20}
# Flow runs carry this tag (prefect.yaml): other people's runs on the same server are left alone.
TAG = "imagemill"
ZOMBIES = "imagemill: give up runs without a heartbeat"
# 2.5 x the heartbeat of 30 s that apps.services asks of every run (measured: CRASHED after 73 s).
ZOMBIE_AFTER = timedelta(seconds=75)


async def create_work_pools(client: PrefectClient) -> None:
    """Create the process pools and the queues of `mill`; existing ones stay as they are."""
    template = await get_default_base_job_template_for_infrastructure_type("process") or {}
    for name, description in POOLS.items():
        pool = WorkPoolCreate(
            name=name, description=description, type="process", base_job_template=template
        )
        with suppress(ObjectAlreadyExists):
            await client.create_work_pool(pool)
    for name, limit in QUEUE_LIMITS.items():
        with suppress(ObjectAlreadyExists):
            await client.create_work_queue(
                name=name, concurrency_limit=limit, work_pool_name=WORK_POOL
            )


async def create_limits(client: PrefectClient) -> None:
    """Create the global concurrency limits that provider blocks take their slots from."""
    for name, limit in PROVIDER_LIMITS.items():
        try:
            await client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            await client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=name, limit=limit)
            )


def block_types() -> list[type[Block]]:
    """Return every block type of the package `blocks` that has a name of its own."""
    found: dict[str, type[Block]] = {}
    for module_info in pkgutil.walk_packages(blocks.__path__, "blocks."):
        module = importlib.import_module(module_info.name)
        for _, one in inspect.getmembers(module, inspect.isclass):
            own = one.__module__ == module.__name__ and vars(one).get("_block_type_name")
            if own and issubclass(one, Block) and not inspect.isabstract(one):
                found[one.__qualname__] = one
    return list(found.values())


async def register_blocks(client: PrefectClient) -> None:
    """Make the block types known to the server, so that its UI offers their forms.

    No document is saved: a block named `default` is built from the environment until somebody
    saves one.
    """
    for block_type in block_types():
        await block_type.aregister_type_and_schema(client=client)


def zombie_automation() -> Automation:
    """Return the rule that ends runs whose process vanished together with its worker."""
    ended = {f"prefect.flow-run.{s}" for s in ("Completed", "Failed", "Cancelled", "Crashed")}
    return Automation(
        name=ZOMBIES,
        description="Marks an imagemill run CRASHED when it sent no heartbeat for 75 s.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ended},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            match_related={
                "prefect.resource.role": "tag",
                "prefect.resource.id": f"prefect.tag.{TAG}",
            },
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=ZOMBIE_AFTER,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat for {ZOMBIE_AFTER.seconds} s: its process is gone.",
            )
        ],
    )


async def create_automation(client: PrefectClient) -> None:
    """Create the zombie rule once; a copy somebody changed or switched off stays."""
    if not await client.read_automations_by_name(ZOMBIES):
        await zombie_automation().acreate()


async def create_objects() -> None:
    """Create everything that is missing."""
    async with get_client() as client:
        await create_work_pools(client)
        await create_limits(client)
        await create_automation(client)
        await register_blocks(client)


def deploy(prefect_file: Path) -> None:
    """Deploy all of a prefect.yaml with Prefect's own command, in this process.

    In this process, for importing Prefect once more takes 2.5 s.

    Raises:
        SystemExit: The command failed; one entry it cannot read stops the whole file.
    """
    argv = ["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(prefect_file)]
    with _environment(_chosen(prefect_file)):
        before, sys.argv = sys.argv, argv
        try:
            runpy.run_module("prefect", run_name="__main__")
        except SystemExit as leave:
            if leave.code not in (0, None):
                raise
        finally:
            sys.argv = before


@contextmanager
def _environment(names: dict[str, str]) -> Iterator[None]:
    """Set what prefect.yaml names, and put back what was: it is nobody's choice but this deploy's."""
    environment = os.environ  # noqa: TID251 - `prefect deploy` resolves prefect.yaml from it
    before = {name: environment.get(name) for name in names}
    environment.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value


def _chosen(prefect_file: Path) -> dict[str, str]:
    """Return where the project lies and who draws by default: Gemini when there is a key."""
    settings = Settings()
    asked = "provider" in settings.model_fields_set
    keys = (settings.google_api_key, settings.gemini_api_key)
    has_key = any(key.get_secret_value() for key in keys)
    provider = settings.provider if asked or has_key else "sketch"
    return {
        "IMAGEMILL_PROJECT_DIR": str(prefect_file.parent), "IMAGEMILL_PROVIDER": provider,
    }  # fmt: skip


Switches = dict[tuple[str, str], bool]


async def schedule_switches() -> Switches:
    """Return which schedules somebody switched on or off, by deployment and slug."""
    async with get_client() as client:
        return {
            (deployment.name, schedule.slug): schedule.active
            for deployment in await client.read_deployments()
            for schedule in deployment.schedules
            if schedule.slug
        }


async def keep_switches(before: Switches) -> None:
    """Put schedules back as they were: a new version of the code must not stop the nightly run."""
    async with get_client() as client:
        for deployment in await client.read_deployments():
            for schedule in deployment.schedules:
                wanted = before.get((deployment.name, schedule.slug or ""), schedule.active)
                if wanted != schedule.active:
                    await client.update_deployment_schedule(
                        deployment.id, schedule.id, active=wanted
                    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Create the objects, then deploy if asked to."""
    parser = argparse.ArgumentParser(prog="deployments.bootstrap", description=__doc__)
    parser.add_argument("--deploy", type=Path, metavar="PREFECT_YAML")
    options = parser.parse_args(arguments)
    asyncio.run(create_objects())
    if options.deploy:
        before = asyncio.run(schedule_switches())
        deploy(options.deploy.resolve())
        asyncio.run(keep_switches(before))


if __name__ == "__main__":
    main()
