"""`imagemill webhooks`: what became of events, and sending them again. Loopback only."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from apps.cli import app
from apps.cli.screen import out, screen
from apps.receiver import Receiver
from blocks.settings import Settings, local_secrets
from imagemill.ledger import open_ledger
from imagemill.ledger.values import OutboxRow

NOW = datetime.now(UTC)


@pytest.fixture
def cli(home, monkeypatch):
    """Run a command in a fresh home, on a wide screen."""
    for console in (screen, out):
        monkeypatch.setattr(console, "width", 250)
    return lambda *arguments: CliRunner().invoke(app, ["webhooks", *arguments])


@pytest.fixture
def receiver(home, monkeypatch):
    """A receiver that shares this machine's secret and may be connected to."""
    with Receiver(local_secrets(home)["webhook_secret"]) as running:
        monkeypatch.setenv("IMAGEMILL_WEBHOOK_PRIVATE_HOSTS", running.private_host)
        yield running


@pytest.fixture
def outbox(home, receiver):
    """One event in each state, the dead one oldest."""
    url = receiver.url + "?token=s3cret"
    rows = [
        OutboxRow(
            event_id=f"msg_{state}", run_id=f"run-{state}", endpoint=url, url=url, body="{}",
            type="batch.completed", state=state, attempts=attempts, last_error=error,
            created_at=NOW + timedelta(seconds=attempts - 9), next_attempt_at=NOW + timedelta(hours=1),
        )
        for state, attempts, error in (
            ("dead", 8, "127.0.0.1 answered 500."), ("pending", 9, "away"), ("delivered", 10, None),
        )
    ]  # fmt: skip
    body = '{"type":"batch.completed","timestamp":"2026-11-21T05:00:00Z","data":{}}'

    async def put():
        ledger = open_ledger(Settings().ledger_url)
        for row in rows:
            await ledger.queue_event(row.model_copy(update={"body": body}))
        ledger.close()

    asyncio.run(put())


def words(text):
    return " ".join(text.split())


def test_events_are_shown_newest_first_with_dead_letters_and_what_to_do(cli, outbox):
    """Counts of all, the reason of each failure, the command that sends the dead again."""
    shown = cli()
    assert shown.exit_code == 0
    order = [line.split()[0] for line in shown.stdout.splitlines()[1:]]
    assert order == ["msg_delivered", "msg_pending", "msg_dead"]
    assert "127.0.0.1 answered 500." in shown.stdout
    assert "1 pending, 1 delivered, 1 dead" in words(shown.stderr)
    assert "imagemill webhooks replay --dead" in words(shown.stderr)


def test_a_state_and_a_run_can_be_chosen_and_programs_get_json(cli, outbox):
    """Neither shows the address' token, nor the body with its signed links."""
    (dead,) = json.loads(cli("--state", "dead", "--json").stdout)
    assert (dead["event_id"], dead["receiver"], dead["attempts"]) == ("msg_dead", "127.0.0.1", 8)
    (waiting,) = json.loads(cli("--run", "run-pending", "--json").stdout)
    assert waiting["state"] == "pending"
    shown = cli("--json").stdout + cli().stdout
    assert "s3cret" not in shown
    assert '"body"' not in shown


def test_dead_events_are_sent_again_under_their_id(cli, outbox, receiver):
    """The receiver takes it; how it went is said in one line each, and as an exit code."""
    sent = cli("replay", "--dead")
    assert sent.exit_code == 0
    assert "delivered msg_dead" in words(sent.stdout)
    assert [event.id for event in receiver.received] == ["msg_dead"]
    again = cli("replay", "--dead")
    assert again.exit_code == 0
    said = words(again.stderr)
    assert "No event is dead; nothing was sent. 1 event waits for its next attempt" in said
    assert "replay --run RUN" in said


def test_where_nothing_waits_at_all_that_is_said(cli):
    """No event, no hint."""
    assert "There is nothing to send again." in cli("replay", "--dead").stderr


def test_what_fails_again_says_why_and_when_it_is_tried_next(cli, outbox, receiver):
    """Exit code 1; the schedule begins anew."""
    receiver.answer_next(503)
    sent = cli("replay", "--run", "run-dead")
    assert sent.exit_code == 1
    assert "pending msg_dead 127.0.0.1 answered 503. Next attempt" in words(sent.stdout)


def test_a_delivered_event_is_sent_again_only_by_its_id(cli, outbox, receiver):
    """`--run` leaves it alone."""
    cli("replay", "--run", "run-delivered")
    assert receiver.received == []
    (row,) = json.loads(cli("replay", "msg_delivered", "--json").stdout)
    assert (row["event_id"], row["state"]) == ("msg_delivered", "delivered")
    assert [event.id for event in receiver.received] == ["msg_delivered"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "give --dead or --run RUN"),
        (["replay", "msg_nobody"], "no webhook event msg_nobody"),
        (["replay", "--run", "nobody"], "Run nobody has no webhook event"),
        (["--state", "lost"], "pending, delivered, dead"),
    ],
)
def test_wrong_usage_is_one_clear_error(cli, outbox, receiver, arguments, said):
    """What was wrong and where to look; nothing is sent."""
    result = cli(*arguments)
    assert result.exit_code == 2
    assert said in words(result.stderr)
    assert receiver.answered == []


def test_the_help_teaches(cli):
    """When an event is dead, and how to send it again."""
    assert "eight times over about nine hours" in words(cli("--help").stdout)
    assert "Each keeps its id for ever" in words(cli("replay", "--help").stdout)
