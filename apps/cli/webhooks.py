"""What became of webhook events, and sending them again: `imagemill webhooks`."""

import asyncio
import json
import sys
from typing import Annotated, Any, cast, get_args
from urllib.parse import urlsplit

import typer
from rich.markup import escape
from rich.table import Table

from apps.cli.screen import OTHER_TROUBLE, guarded, out, screen
from apps.prefect_server import running_prefect, speaking_to
from blocks.settings import Settings
from imagemill.delivering import Endpoint, replay
from imagemill.errors import RequestError
from imagemill.ledger import open_ledger
from imagemill.ledger.values import EventState, OutboxRow

app = typer.Typer(no_args_is_help=False, rich_markup_mode="rich")
COLOURS = {"delivered": "green", "pending": "yellow", "dead": "red"}
Json = Annotated[bool, typer.Option("--json", help="For programs, to standard output.")]


def webhooks(
    context: typer.Context,
    state: Annotated[
        str, typer.Option(help="Only these: pending (waiting for its turn), delivered, dead.")
    ] = "",
    run: Annotated[str, typer.Option(help="Only those of this run.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """Show webhook events, newest first: delivered, waiting, or given up (dead).

    An event that does not get through is tried eight times over about nine hours, then it is dead:
    nobody tries again until you say so, with [bold]imagemill webhooks replay[/bold].

    [dim]imagemill webhooks --state dead[/]
    """
    if context.invoked_subcommand:
        return
    wanted = _state(state)

    async def looked() -> tuple[list[OutboxRow], dict[str, int]]:
        ledger = open_ledger(Settings().ledger_url)
        try:
            rows = await ledger.list_events(state=wanted, run_id=run or None, limit=limit)
            return rows, await ledger.count_events()
        finally:
            ledger.close()

    rows, counts = asyncio.run(looked())
    if as_json:
        _print_json(rows)
        return
    if rows:
        out.print(_table(rows))
    said = ", ".join(f"{counts.get(name, 0)} {name}" for name in get_args(EventState))
    screen.print(f"In all: {said}.")
    if counts.get("dead"):
        screen.print("[dim]→[/] `imagemill webhooks replay --dead` sends the dead ones again.")


def replay_events(
    event_ids: Annotated[
        list[str] | None, typer.Argument(help="Event ids, as `imagemill webhooks` shows them.")
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All that were given up.")] = False,
    run: Annotated[
        str, typer.Option(help="All of this run that are not delivered.", metavar="RUN")
    ] = "",
    as_json: Json = False,
) -> None:
    """Send events again, now. Each keeps its id for ever, so a careful receiver takes it once.

    What does not get through starts its schedule anew. A delivered event is sent again only when
    you name its id. Exit code 1 when one was not delivered.

    [dim]imagemill webhooks replay --dead[/]
    """
    if not (event_ids or dead or run):
        raise RequestError(
            "Say which events to send again.",
            remedy="Name event ids, or give --dead or --run RUN. `imagemill webhooks` lists them.",
        )
    rows = asyncio.run(_replayed(event_ids or [], dead=dead, run_id=run or None))
    if as_json:
        _print_json(rows)
    elif rows:
        for row in rows:
            out.print(f"[{COLOURS[row.state]}]{row.state}[/] {escape(row.event_id)} {_how(row)}")
    else:
        screen.print(_nothing(asyncio.run(_counts()), dead=dead))
    if any(row.state != "delivered" for row in rows):
        raise typer.Exit(OTHER_TROUBLE)


async def _replayed(event_ids: list[str], *, dead: bool, run_id: str | None) -> list[OutboxRow]:
    from blocks.webhook import load_endpoint

    settings = Settings()

    async def endpoint_of(name: str) -> Endpoint:
        return await load_endpoint(name, settings)

    ledger = open_ledger(settings.ledger_url)
    try:
        # A receiver saved as a block is known to the Prefect server alone.
        with speaking_to(running_prefect(settings)):
            return await replay(ledger, endpoint_of, event_ids=event_ids, dead=dead, run_id=run_id)
    finally:
        ledger.close()


async def _counts() -> dict[str, int]:
    ledger = open_ledger(Settings().ledger_url)
    try:
        return await ledger.count_events()
    finally:
        ledger.close()


def _nothing(counts: dict[str, int], *, dead: bool) -> str:
    """Say why nothing was sent, and what becomes of the events that wait."""
    pending = counts.get("pending", 0)
    if not (dead and pending):
        return "There is nothing to send again."
    waits = "1 event waits for its" if pending == 1 else f"{pending} events wait for their"
    return (
        f"No event is dead; nothing was sent. {waits} next attempt, which `imagemill up` makes. "
        "`imagemill webhooks replay --run RUN` sends those of a run now."
    )


def _state(said: str) -> EventState | None:
    known = get_args(EventState)
    if said and said not in known:
        raise RequestError(
            f"There is no state {said[:20]!r}.", remedy=f"--state is one of {', '.join(known)}."
        )
    return cast(EventState, said) if said else None


def _receiver(row: OutboxRow) -> str:
    """Name who gets it: the block, or the host alone (paths may hold tokens)."""
    return urlsplit(row.endpoint).hostname or "" if "://" in row.endpoint else row.endpoint


def _how(row: OutboxRow) -> str:
    if row.state == "delivered":
        return f"[dim]to {escape(_receiver(row))}, attempt {row.attempts}[/]"
    why = escape(row.last_error or "not tried yet")
    if row.state == "pending":
        return f"{why} [dim]Next attempt {row.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC.[/]"
    return why


def _table(rows: list[OutboxRow]) -> Table:
    table = Table("event", "state", "attempts", "made (UTC)", "receiver", "how it went", box=None)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(
            escape(row.event_id), f"[{COLOURS[row.state]}]{row.state}[/]", str(row.attempts),
            f"{row.created_at:%m-%d %H:%M}", escape(_receiver(row)), _how(row),
        )  # fmt: skip
    return table


def _print_json(rows: list[OutboxRow]) -> None:
    """Print rows without bodies and addresses: both carry access."""
    fields: list[dict[str, Any]] = [
        {
            **row.model_dump(mode="json", exclude={"body", "url", "endpoint"}),
            "receiver": _receiver(row),
        }
        for row in rows
    ]
    sys.stdout.write(json.dumps(fields, indent=2) + "\n")


app.callback(invoke_without_command=True)(guarded(webhooks))
app.command("replay")(guarded(replay_events))
