"""One set of real services for all flow tests: Prefect server, SeaweedFS, gateway, fake Gemini."""

import asyncio
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from apps.receiver import Receiver
from blocks.settings import Settings, local_secrets
from imagemill.ledger import Ledger, open_ledger
from tests.wire.gemini import FakeGemini

KEY = "AIza-only-for-tests"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """All flow tests share a worker, and so one set of services."""
    for item in items:
        if "services" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("services"))
            item.add_marker(pytest.mark.prefect)
            item.add_marker(pytest.mark.seaweed)
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def services(tmp_path_factory):
    """Prefect, object store and gateway in a home of their own, stopped at the end."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    from apps.services.ensure import ensure_services
    from apps.services.lifecycle import down

    settings = Settings(home=tmp_path_factory.mktemp("services") / "home")
    found = ensure_services(settings, say=lambda _line: None)
    yield found
    # What Prefect's client still has to tell must be told before its server goes, or the end of
    # the tests waits a minute for one that does not come back.
    EventsWorker.drain_all(timeout=20)
    APILogWorker.drain_all(timeout=20)
    down(settings, say=lambda _line: None)


@pytest.fixture(scope="session")
def gemini_server():
    with FakeGemini() as running:
        yield running


@pytest.fixture
def fake(gemini_server):
    """The fake Gemini, as if just started."""
    gemini_server.reset()
    return gemini_server


@dataclass
class Mill:
    """This process wired to the services, with a ledger that no other test writes to.

    Attributes:
        environment: What a subprocess needs to work with the same services and ledger.
    """

    services: Any
    fake: FakeGemini
    ledger_url: str
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, prompts, *, state: bool = False, **fields) -> Any:
        """Run the batch flow as a Python caller does; returns its result, or its state."""
        from flows.batch import generate_images_batch

        more = {"return_state": True} if state else {}
        return asyncio.run(generate_images_batch(prompts=prompts, **fields, **more))

    def ask(self, question) -> Any:
        """Open the ledger, await `question(ledger)`, close it."""

        async def asked() -> Any:
            ledger: Ledger = open_ledger(self.ledger_url)
            try:
                return await question(ledger)
            finally:
                ledger.close()

        return asyncio.run(asked())

    def rows(self, statement: str, **values) -> list[Any]:
        """Read the ledger's tables as they are."""
        from sqlalchemy import text

        from imagemill.ledger.database import make_engine

        engine = make_engine(self.ledger_url)
        try:
            with engine.connect() as connection:
                return list(connection.execute(text(statement), values))
        finally:
            engine.dispose()

    def has_ledger(self) -> bool:
        """Whether the ledger was ever opened."""
        return not self.ledger_url.startswith("sqlite") or Path(self.ledger_url[10:]).exists()

    @property
    def home(self) -> Path:
        return self.services.home


@pytest.fixture
def ledger_address(request, tmp_path):
    """Where this test's ledger lives: a SQLite file, or PostgreSQL for a test that asks for it."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    import psycopg

    server = request.getfixturevalue("postgres_server")
    name = f"imagemill_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield f"{server.rsplit('/', 1)[0]}/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _free_places(prefect_url: str) -> None:
    """Make the limits anew whose places a killed run still holds: its lease lasts for minutes.

    Emptied only, a limit would be emptied once more when that lease ends, in a later test.
    """
    import httpx

    address = f"{prefect_url}/v2/concurrency_limits"
    for limit in httpx.post(f"{address}/filter", json={}).json():
        if limit["active_slots"]:
            httpx.delete(f"{address}/{limit['id']}").raise_for_status()
            wanted = {"name": limit["name"], "limit": limit["limit"]}
            httpx.post(f"{address}/", json=wanted).raise_for_status()


@pytest.fixture
def mill(services, fake, ledger_address, monkeypatch):
    """Point this process at the services, the fake Gemini and a fresh ledger, for one test."""
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    from blocks.store import forget_stores
    from imagemill.breaker import forget_breakers

    environment = {
        **services.environment(),
        "IMAGEMILL_DATABASE_URL": ledger_address,
        "GOOGLE_API_KEY": KEY,
        "GOOGLE_GEMINI_BASE_URL": fake.url,
        # Whether u2netp is installed here must not decide what a test draws, nor how long it takes.
        "IMAGEMILL_U2NETP_FILE": str(services.home / "no-u2netp.onnx"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    forget_stores()
    forget_breakers()
    _free_places(services.prefect_url)
    with temporary_settings(
        {PREFECT_API_URL: services.prefect_url, PREFECT_HOME: services.home / "prefect"}
    ):
        yield Mill(services, fake, ledger_address, environment)
    forget_stores()


@pytest.fixture
def receiver(mill, monkeypatch):
    """A receiver that shares this machine's secret, and may be connected to."""
    with Receiver(local_secrets(mill.home)["webhook_secret"]) as running:
        monkeypatch.setenv("IMAGEMILL_WEBHOOK_PRIVATE_HOSTS", running.private_host)
        mill.environment["IMAGEMILL_WEBHOOK_PRIVATE_HOSTS"] = running.private_host
        yield running


@pytest.fixture
def words():
    """Make prompts that no other test ever asked for."""

    def made(count: int, what: str = "a lighthouse") -> list[str]:
        mark = uuid.uuid4().hex[:8]
        return [f"{what} number {number} of {mark}" for number in range(1, count + 1)]

    return made


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A models folder as ComfyUI keeps it, with three tiny checkpoints, VAE, ControlNet and LoRA."""
    from bench.tiny_models import tiny_models

    return tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def sdxl(mill, models, monkeypatch):
    """Save a Local SDXL block over the tiny models; its engine ends with the test."""
    from blocks.local_sdxl import LocalSDXL
    from imagemill.providers.sdxl.engines import close_engines

    monkeypatch.setenv("IMAGEMILL_SDXL_CONFIG", str(models / "config"))
    mill.environment["IMAGEMILL_SDXL_CONFIG"] = str(models / "config")
    block = LocalSDXL(models_folder=str(models), steps=2, native_px=64, device="cpu", guidance=3)
    asyncio.run(block.asave("tiny", overwrite=True))
    yield "sdxl/tiny"
    close_engines()
