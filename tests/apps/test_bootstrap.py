"""The Prefect server gets what imagemill needs, once, and keeps what people changed."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.automations import Automation
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from apps.services.addresses import Services
from apps.services.ensure import ensure
from apps.services.launching import Start
from apps.services.lifecycle import down
from apps.services.ports import PortPlan
from apps.services.preparation import digest, is_prepared, prepare
from blocks.settings import Settings
from deployments import bootstrap
from imagemill.errors import ServiceError

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("services"),
]

FLOW = """
from prefect import flow

@flow
def hello(n: int = 1) -> None:
    "Say nothing."
"""
PREFECT_YAML = """
deployments:
  - name: one
    entrypoint: hello.py:hello
    work_pool: {{name: mill, work_queue_name: parents}}
  - name: two
    entrypoint: hello.py:hello
    work_pool: {{name: mill, work_queue_name: shards}}
    schedules: [{schedule}]
pull:
  - prefect.deployments.steps.set_working_directory: {{directory: /}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Start, Services]]:
    """A Prefect server of this module's own."""
    settings = Settings(home=tmp_path_factory.mktemp("bootstrap") / "home")
    start = Start(settings, print, ports=PortPlan(any_port=True))
    with pytest.MonkeyPatch.context() as shell:
        for name in ("PREFECT_API_URL", "PREFECT_PROFILE"):
            shell.delenv(name, raising=False)
        shell.setenv("PREFECT_HOME", str(settings.home / "no-prefect"))
        services = ensure(start, want={"prefect"}, preparation="none")
    changed: dict[Any, Any] = {
        PREFECT_API_URL: services.prefect_url,
        PREFECT_HOME: settings.home / "prefect",
    }
    with temporary_settings(changed):
        yield start, services
    down(settings, say=print)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with two deployments of one flow."""
    (tmp_path / "hello.py").write_text(FLOW)
    (tmp_path / "prefect.yaml").write_text(PREFECT_YAML.format(schedule=""))
    return tmp_path


async def queue_limits() -> dict[str, int | None]:
    async with get_client() as client:
        queues = await client.read_work_queues(work_pool_name="mill")
        return {queue.name: queue.concurrency_limit for queue in queues}


def test_everything_a_run_needs_is_there_and_stays_as_people_changed_it(
    server: tuple[Start, Services],
) -> None:
    """Pool without a limit, parents one at a time, provider limit, one zombie rule, block types;
    a second bootstrap changes none of it."""

    async def adjust() -> None:
        async with get_client() as client:
            await client.update_global_concurrency_limit(
                "imagemill-gemini", GlobalConcurrencyLimitUpdate(limit=3)
            )

    async def look() -> dict[str, Any]:
        async with get_client() as client:
            pool = await client.read_work_pool("mill")
            limit = await client.read_global_concurrency_limit_by_name("imagemill-gemini")
            rules = await client.read_automations_by_name(bootstrap.ZOMBIES)
            blocks = {b.slug for b in await client.read_block_types()}
            return {"pool": pool, "limit": limit.limit, "rules": len(rules), "blocks": blocks}

    bootstrap.main([])
    first = asyncio.run(look())
    asyncio.run(adjust())
    bootstrap.main([])
    second = asyncio.run(look())

    assert first["pool"].type == "process"
    assert first["pool"].concurrency_limit is None
    assert "command" in first["pool"].base_job_template["variables"]["properties"]
    assert first["limit"] == bootstrap.PROVIDER_LIMITS["imagemill-gemini"]
    assert first["rules"] == second["rules"] == 1
    assert second["limit"] == 3
    assert "artifact-store" in first["blocks"]
    limits = asyncio.run(queue_limits())
    assert limits.pop("default") is None
    assert limits == bootstrap.QUEUE_LIMITS


def test_the_gpu_pool_counts_nothing_itself_and_stays_as_people_changed_it(
    server: tuple[Start, Services],
) -> None:
    """No limit and no GPU in the pool: its workers bring both. A second bootstrap keeps a change."""

    async def look() -> Any:
        async with get_client() as client:
            return await client.read_work_pool("gpu")

    async def pause() -> None:
        async with get_client() as client:
            await client.update_work_pool("gpu", WorkPoolUpdate(is_paused=True))

    bootstrap.main([])
    first = asyncio.run(look())
    asyncio.run(pause())
    bootstrap.main([])

    assert (first.type, first.concurrency_limit, first.is_paused) == ("process", None, False)
    assert "one worker is one GPU" in first.description
    assert "CUDA_VISIBLE_DEVICES" not in str(first.base_job_template)
    assert asyncio.run(look()).is_paused


def test_every_block_type_of_ours_has_a_name_for_the_form() -> None:
    """Each concrete block of the package is registered, once, under a name of its own."""
    types = bootstrap.block_types()
    names = [one.get_block_type_slug() for one in types]
    assert len(names) == len(set(names))
    assert "artifact-store" in names
    assert all(issubclass(one, Block) for one in types)


def test_the_zombie_rule_leaves_other_peoples_runs_alone() -> None:
    """Only runs tagged imagemill are given up, after 2.5 heartbeats of 30 s."""
    rule: Automation = bootstrap.zombie_automation()
    trigger = rule.trigger.model_dump(mode="json")
    assert trigger["match_related"]["prefect.resource.id"] == "prefect.tag.imagemill"
    assert trigger["within"] == 75
    assert "prefect.flow-run.Completed" in trigger["expect"]


def test_a_prefect_yaml_is_deployed(server: tuple[Start, Services], project: Path) -> None:
    """All deployments of the file exist afterwards, in their queues; a second time is fine.

    What the deploy tells Prefect through the environment is gone when it is over: left behind, the
    provider of the deployments became the default of every later command in the process.
    """
    environment = dict(os.environ)
    bootstrap_here(project)
    assert dict(os.environ) == environment
    bootstrap_here(project)

    async def queues() -> dict[str, str | None]:
        async with get_client() as client:
            return {d.name: d.work_queue_name for d in await client.read_deployments()}

    assert asyncio.run(queues()) == {"one": "parents", "two": "shards"}


def test_a_schedule_makes_runs(server: tuple[Start, Services], project: Path) -> None:
    """The server's scheduler works with the pinned libraries: with SQLAlchemy 2.1 it failed at
    every turn, quietly, and no nightly batch ever came."""
    text = PREFECT_YAML.format(schedule="{interval: 3600, slug: hourly, active: true}")
    (project / "prefect.yaml").write_text(text)
    bootstrap_here(project)

    async def planned() -> int:
        async with get_client() as client:
            state = FlowRunFilter(state={"type": {"any_": ["SCHEDULED"]}})
            return len(await client.read_flow_runs(flow_run_filter=state))

    # The scheduler looks for new deployments every 5 s.
    deadline = time.monotonic() + 60
    while not asyncio.run(planned()):
        assert time.monotonic() < deadline, "the scheduler made no run"


def bootstrap_here(project: Path) -> None:
    with pytest.MonkeyPatch.context() as shell:
        shell.chdir(project)
        bootstrap.main(["--deploy", str(project / "prefect.yaml")])


def test_a_deployment_that_prefect_cannot_read_is_an_error(
    server: tuple[Start, Services], project: Path
) -> None:
    """A key of the schedule that Prefect does not know stops the bootstrap."""
    text = PREFECT_YAML.format(schedule="{cron: '0 2 * * *', max_active_runs: 1}")
    (project / "prefect.yaml").write_text(text.replace("name: two", "name: three"))
    with pytest.raises(SystemExit) as caught:
        bootstrap_here(project)
    assert caught.value.code not in (0, None)


def test_preparing_happens_once_per_code(
    server: tuple[Start, Services], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same code on the same server is not prepared twice; a changed file is."""
    start, services = server
    url = services.prefect_url
    here = Start(start.settings, print, project_dir=project)
    (project / "deployments").symlink_to(Path(bootstrap.__file__).parent)
    (project / "blocks").mkdir()
    assert not is_prepared(here, key="own", level="deployments", url=url)

    prepare(here, services.environment(), key="own", level="deployments")

    assert is_prepared(here, key="own", level="deployments", url=url)
    assert is_prepared(here, key="own", level="objects", url=url)
    before = digest(project, "deployments")
    (project / "prefect.yaml").write_text(PREFECT_YAML.format(schedule="") + "\n# changed\n")
    assert digest(project, "deployments") != before
    assert not is_prepared(here, key="own", level="deployments", url=url)
    assert is_prepared(here, key="own", level="objects", url=url)


def test_a_failed_preparation_shows_why(server: tuple[Start, Services], project: Path) -> None:
    """What went wrong on the server is in the message, and the next command tries again."""
    start, services = server
    (project / "prefect.yaml").unlink()
    here = Start(start.settings, print, project_dir=project)
    with pytest.raises(ServiceError, match=r"(?s)could not be prepared.*prefect\.yaml"):
        prepare(here, services.environment(), key="own", level="deployments")
    assert not is_prepared(here, key="own", level="deployments", url=services.prefect_url)


def test_a_cancelled_preparation_ends_at_once(
    server: tuple[Start, Services], project: Path
) -> None:
    """Ctrl-C does not wait for Prefect's imports."""
    start, services = server
    here = Start(start.settings, print, project_dir=project)
    here.cancelled.set()
    with pytest.raises(ServiceError):
        prepare(here, services.environment(), key="own", level="objects")
