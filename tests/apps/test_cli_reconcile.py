"""`imagemill reconcile`: lost answers are listed, looked for, and settled by a person. Nothing is sent."""

import asyncio
import json
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from apps.cli import app
from apps.cli.screen import out, screen
from blocks.settings import Settings
from imagemill.artifact import ArtifactRef, digest_of
from imagemill.ledger import open_ledger
from imagemill.ledger.values import Payment
from imagemill.spool import Spool
from tests.builders import ask

KEYS = [f"{number:x}" * 64 for number in range(10)]


@pytest.fixture
def cli(home, monkeypatch):
    """Run a command in a fresh home, on a wide screen."""
    for console in (screen, out):
        monkeypatch.setattr(console, "width", 250)
    return lambda *arguments: CliRunner().invoke(app, ["reconcile", *arguments])


@pytest.fixture
def lost(home):
    """Three lost answers of two runs; returns their ids."""

    async def made():
        ledger = open_ledger(Settings().ledger_url)
        numbers = []
        for number, run_id in enumerate(("run-1", "run-1", "run-2")):
            granted = await ledger.reserve(ask(key=KEYS[number], run_id=run_id, lineage=run_id))
            await ledger.ambiguous(granted.reservation_id, error_class="timeout")
            numbers.append(granted.reservation_id)
        ledger.close()
        return numbers

    return asyncio.run(made())


def spent(run_id):
    async def asked():
        ledger = open_ledger(Settings().ledger_url)
        try:
            return (await ledger.money_of(run_id)).spent_usd
        finally:
            ledger.close()

    return asyncio.run(asked())


def words(text):
    return " ".join(text.split())


def test_lost_answers_are_listed_with_totals_and_what_to_do(cli, lost):
    """Id, first of the key, run, model, amount, class; looking changes nothing."""
    shown = cli()
    assert shown.exit_code == 0
    assert [line.split()[:3] for line in shown.stdout.splitlines()[1:]] == [
        [str(lost[0]), KEYS[0][:12], "run-1"],
        [str(lost[1]), KEYS[1][:12], "run-1"],
        [str(lost[2]), KEYS[2][:12], "run-2"],
    ]
    assert "timeout" in shown.stdout
    assert "3 open, $0.1008 counted as spent" in words(shown.stderr)
    assert "--not-billed ID" in shown.stderr
    data = json.loads(cli("--run", "run-2", "--json").stdout)
    assert [question["reservation_id"] for question in data["questions"]] == [lost[2]]
    assert (data["open_usd"], spent("run-1")) == ("0.0336", Decimal("0.0672"))


def test_a_person_settles_by_id(cli, lost):
    """One command may give back some and confirm others; what is left is still listed."""
    done = cli("--not-billed", f"{lost[0]}", "--billed", f"{lost[1]}")
    assert done.exit_code == 0
    said = words(done.stderr)
    assert f"settled {lost[0]}: not billed; $0.0336 given back" in said
    assert f"settled {lost[1]}: billed; $0.0336 stay spent" in said
    assert "1 open, $0.0336 counted" in said
    assert spent("run-1") == Decimal("0.0336")


def test_all_of_a_run_can_be_settled_at_once(cli, lost):
    """`all` means what the list shows, not what it does not."""
    data = json.loads(cli("--run", "run-1", "--not-billed", "all", "--json").stdout)
    assert [one["reservation_id"] for one in data["settled"]] == lost[:2]
    assert (spent("run-1"), spent("run-2")) == (0, Decimal("0.0336"))


def test_the_same_command_twice_changes_nothing(cli, lost):
    """Settled and unknown ids are refused one by one, with what they are; the rest is done."""
    cli("--not-billed", str(lost[0]))
    again = cli("--not-billed", f"{lost[0]},{lost[1]},424242")
    assert again.exit_code == 1
    said = words(again.stderr)
    assert f"Reservation {lost[0]} was settled before, as not billed" in said
    assert "There is no reservation 424242" in said
    assert f"settled {lost[1]}" in said
    assert spent("run-1") == 0


def test_an_answer_in_the_spool_is_found_before_anybody_is_asked(cli, lost, home):
    """It is charged at what it cost, also when the same command calls it not billed."""
    data = b"a whole picture"
    artifact = ArtifactRef(digest=digest_of(data), size_bytes=len(data), width_px=8, height_px=8)
    paid = Payment(artifact=artifact, cost_usd=Decimal("0.02"))
    Spool(home).keep(KEYS[2], lost[2], data, paid)
    done = cli("--not-billed", "all")
    said = words(done.stderr)
    assert f"found {lost[2]}: its answer lay in the spool; charged $0.02" in said
    assert "No open question" in said
    assert (spent("run-1"), spent("run-2")) == (0, Decimal("0.02"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--not-billed", "a1b2"], "takes reservation ids; got 'a1b2'"),
        (["--billed", "1", "--not-billed", "1"], "either billed or not"),
        (["--billed", "all", "--not-billed", "1"], "leaves nothing"),
    ],
)
def test_wrong_usage_is_one_clear_error(cli, home, arguments, said):
    """Exit code 2; the ledger is not touched."""
    result = cli(*arguments)
    assert result.exit_code == 2
    assert said in words(result.stderr)


def test_nothing_open_is_said(cli, home):
    """An empty list is an answer."""
    assert "No open question" in words(cli().stderr)
    assert json.loads(cli("--json").stdout)["questions"] == []


def test_the_help_says_what_settling_means(cli):
    """That a settled image is sent anew, and may be paid a second time."""
    shown = words(cli("--help").stdout)
    assert "without --resend-ambiguous: if it was billed, that is a second payment" in shown
