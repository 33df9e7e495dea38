"""The doctor without a Prefect server: what dead processes left in the ledger, one line each."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from apps.checkup import checkup
from apps.cli import app
from apps.cli.screen import screen
from apps.prefect_server import running_prefect
from blocks.settings import Settings
from imagemill.artifact import ArtifactRef, digest_of
from imagemill.ledger import open_ledger
from imagemill.ledger.holder import holder
from imagemill.ledger.values import Payment, RunRow
from imagemill.providers import EMBEDDED, KINDS
from imagemill.spool import Spool
from tests.builders import ask
from tests.unit.test_settling import KEYS, dead_holder


@pytest.fixture
def cli(home, monkeypatch):
    """Run a command in a fresh home, on a wide screen."""
    monkeypatch.setattr(screen, "width", 250)
    return lambda *arguments: CliRunner().invoke(app, ["doctor", *arguments])


def in_ledger(work):
    """Run `work(ledger)` on this home's ledger."""

    async def done():
        ledger = open_ledger(Settings().ledger_url)
        try:
            return await work(ledger)
        finally:
            ledger.close()

    return asyncio.run(done())


@pytest.fixture
def left(home):
    """A dead run with three images on the wire (one answered, one drawn here), and a living run."""

    async def made(ledger):
        now = datetime.now(UTC)
        for run_id, name in (("dead", dead_holder()), ("alive", holder())):
            row = RunRow(
                id=run_id, kind="batch", lineage=run_id, batch_digest=run_id, state="running",
                holder=name, created_at=now, heartbeat_at=now,
            )  # fmt: skip
            await ledger.begin_run(row)
        numbers = []
        for number, provider in enumerate(("gemini", "gemini", "sketch")):
            wanted = ask(key=KEYS[number], run_id="dead", holder=dead_holder(), provider=provider)
            numbers.append((await ledger.reserve(wanted)).reservation_id)
        await ledger.reserve(ask(key=KEYS[9], run_id="alive", lineage="alive"))
        data = b"a whole picture"
        artifact = ArtifactRef(
            digest=digest_of(data), size_bytes=len(data), width_px=8, height_px=8
        )
        paid = Payment(artifact=artifact, cost_usd=Decimal("0.02"))
        Spool(home).keep(KEYS[0], numbers[0], data, paid)
        return numbers

    return in_ledger(made)


def found():
    return next(finding for finding in checkup(Settings()) if finding.what == "left behind")


def test_what_the_dead_left_is_shown_with_the_command_that_frees_it(cli, left):
    """How much, and what to do; looking changes nothing and is no failure."""
    assert cli().exit_code == 0
    finding = found()
    assert finding.level == "note"
    assert finding.found.startswith("3 open reservations ($0.1008), 1 run marked running;")
    assert "doctor --free" in finding.remedy
    assert found() == finding


def test_free_settles_each_and_says_what_it_did(cli, left):
    """Charged from the spool, ambiguous, or free of charge; the living keep what they hold."""
    said = " ".join(cli("--free").stderr.split())
    assert f"freed reservation {left[0]} (key {'0' * 12}, run dead): its answer lay in" in said
    assert f"freed reservation {left[1]} (key {'1' * 12}, run dead): ambiguous; $0.0336" in said
    assert f"freed reservation {left[2]} (key {'2' * 12}, run dead): failed; drawn on this" in said
    assert "freed run dead: crashed; the same batch again finishes it" in said
    assert found().found == "nothing by dead processes"
    assert in_ledger(lambda ledger: ledger.money_of("dead")).spent_usd == Decimal("0.0536")
    alive = in_ledger(lambda ledger: ledger.run("alive"))
    assert alive.state == "running"
    assert in_ledger(lambda ledger: ledger.money_of("alive")).reserved_usd == Decimal("0.0336")
    assert "There was nothing to free." in cli("--free").stderr


def test_without_a_server_no_limits_are_asked_for(home):
    """Nor is one started to ask."""
    assert running_prefect(Settings()) == ""


async def test_the_embedded_providers_are_those_that_say_so(home, tmp_path, monkeypatch):
    """The ledger knows a provider's name only, so the names are held to the capabilities."""
    from blocks.provider import load_provider

    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "any.safetensors").touch()
    monkeypatch.setenv("IMAGEMILL_SDXL_MODELS", str(tmp_path))
    for kind in KINDS:
        provider = await load_provider(kind, Settings())
        assert provider.capabilities("").embedded == (kind in EMBEDDED)
        assert provider.capabilities("").provider == kind
        await provider.aclose()
