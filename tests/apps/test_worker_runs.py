"""Runs of a deployment on the worker: killed and retried with one click, cancelled in the UI."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import text

from apps.services.addresses import Services
from apps.services.lifecycle import down
from apps.services.ports import PortPlan
from apps.services.supervisor import up_detached
from blocks.settings import Settings
from imagemill.ledger.database import make_engine
from tests.wire.gemini import FakeGemini

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.seaweed,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("services"),
]

IMAGES, AT_ONCE = 16, 2
NAME = "generate-images-batch/on-demand"


@dataclass
class Works:
    """Everything that `imagemill up` starts, and the fake Gemini that its runs ask."""

    services: Services
    fake: FakeGemini
    settings: Settings

    def start(self, tag: str) -> str:
        """Start the on-demand deployment as its form does; returns the run's id."""
        deployment = self.ask("GET", f"/deployments/name/{NAME}")["id"]
        parameters = {
            "prompts": [f"{tag}, picture {n}" for n in range(IMAGES)],
            "provider": "gemini",
            "max_concurrent": AT_ONCE,
        }
        run = self.ask(
            "POST", f"/deployments/{deployment}/create_flow_run", json={"parameters": parameters}
        )
        return str(run["id"])

    def ask(self, method: str, path: str, **more: Any) -> Any:
        for _ in range(20):
            answer = httpx.request(method, f"{self.services.prefect_url}{path}", timeout=30, **more)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:  # its SQLite was busy
                break
            time.sleep(0.5)
        return answer.raise_for_status().json()

    def state(self, run: str) -> str:
        return str(self.ask("GET", f"/flow_runs/{run}")["state_type"])

    def say(self, run: str, kind: str, name: str) -> None:
        """Ask for a state, as the buttons of the UI do."""
        self.ask(
            "POST", f"/flow_runs/{run}/set_state", json={"state": {"type": kind, "name": name}}
        )

    def until(self, told: Callable[[], object], *, within_s: float = 90.0) -> None:
        deadline = time.monotonic() + within_s
        while not told():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def processes_of(self, run: str) -> list[psutil.Process]:
        """Find the processes that the worker runs this flow run in."""
        found = []
        for process in psutil.process_iter():
            try:
                named = run in process.environ().get("PREFECT__FLOW_RUN_ID", "")
                if named or run in " ".join(process.cmdline()):
                    found.append(process)
            except (psutil.AccessDenied, psutil.NoSuchProcess):
                continue
        return found

    def count(self, run: str, state: str) -> int:
        engine = make_engine(self.settings.ledger_url)
        query = "SELECT count(*) FROM reservations WHERE run_id = :run AND state = :state"
        with engine.connect() as connection:
            found = connection.execute(text(query), {"run": run, "state": state}).scalar_one()
        engine.dispose()
        return int(found)


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    settings = Settings(home=tmp_path_factory.mktemp("works") / "home")
    with pytest.MonkeyPatch.context() as shell, FakeGemini() as fake:
        fake.script(latency_s=0.7)
        shell.setenv("PREFECT_HOME", str(settings.home / "no-prefect"))
        shell.setenv("GOOGLE_API_KEY", "AIza-only-for-tests")
        shell.setenv("GOOGLE_GEMINI_BASE_URL", fake.url)
        try:
            services = up_detached(settings, say=print, ports=PortPlan(any_port=True))
            yield Works(services, fake, settings)
        finally:
            down(settings, say=print)


def test_a_killed_run_is_marked_and_the_retry_button_finishes_it(works: Works) -> None:
    """The worker sees the death within seconds; *Retry* goes on, and pays nothing twice."""
    works.fake.reset()
    works.fake.script(latency_s=0.7)
    run = works.start("killed")
    works.until(lambda: works.fake.stats.images_served >= 4)
    for process in works.processes_of(run):
        process.kill()
    works.until(lambda: works.state(run) == "CRASHED")
    works.say(run, "SCHEDULED", "AwaitingRetry")
    works.until(lambda: works.state(run) in {"COMPLETED", "FAILED"})
    unclear = works.count(run, "ambiguous")
    assert works.count(run, "open") == 0
    assert works.count(run, "charged") + unclear == IMAGES
    assert works.fake.stats.requests == IMAGES


def test_a_run_cancelled_in_the_ui_tears_nothing_off(works: Works) -> None:
    """What is on the wire comes in and is charged; nothing is open or ambiguous; it can go on."""
    works.fake.reset()
    works.fake.script(latency_s=0.7)
    run = works.start("cancelled")
    works.until(lambda: works.fake.stats.images_served >= 4)
    works.say(run, "CANCELLING", "Cancelling")
    works.until(lambda: works.state(run) == "CANCELLED")
    works.until(lambda: not works.processes_of(run))
    assert (works.count(run, "open"), works.count(run, "ambiguous")) == (0, 0)
    assert works.count(run, "charged") == works.fake.stats.images_billed < IMAGES
