"""`imagemill runs`, `resume`, `retry`: look back, and go on."""

import asyncio
import json
import sys
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from apps.cli.assets import finish_assets
from apps.cli.batch import finish, local_runs
from apps.cli.screen import out, screen
from blocks.settings import Settings
from imagemill.errors import AmbiguousOutcome, RequestError
from imagemill.ledger import RunRow, open_ledger
from imagemill.ledger.reading import ledger_exists
from imagemill.ledger.values import Money
from imagemill.report import money
from imagemill.resuming import checked_classes

RunArgument = Annotated[
    str | None, typer.Argument(help="Id of the run or its first characters; see `imagemill runs`.")
]
Resend = Annotated[
    bool, typer.Option("--resend-ambiguous", help="Pay again where an answer was lost.")
]
Budget = Annotated[
    float | None,
    typer.Option("--max-cost-usd", min=0, help="Most for the run and what continues it, together."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print only the result, to standard output.")]

LEFT_ALONE = (
    "[yellow]Nothing is sent for an image whose answer was lost[/]: it may be billed already. Pay for "
    "another attempt with --resend-ambiguous, or look at the bill and settle it first: "
    "`imagemill reconcile`."
)


def runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the newest runs: how each ended, what it cost, and the id to resume it by."""
    found = asyncio.run(_latest(limit))
    if as_json:
        data = [{**_facts(run), **cost.model_dump(mode="json")} for run, cost in found]
        sys.stdout.write(json.dumps(data, indent=2) + "\n")
        return
    if not found:
        screen.print("No run yet. Start with [bold]imagemill demo[/].")
        return
    table = Table("run", "begun (UTC)", "state", "images", "spent", "model", box=None)
    for run, cost in found:
        fact = _facts(run)
        images = f"{fact['success_count']} of {run.total}" if run.summary else f"of {run.total}"
        unclear = f" ({money(cost.ambiguous_usd)} ambiguous)" if cost.ambiguous_usd else ""
        table.add_row(
            run.id[:13], f"{run.created_at:%Y-%m-%d %H:%M}", run.state.replace("_", " "), images,
            f"{money(cost.spent_usd)}{unclear}", escape(f"{run.provider}/{run.model}"),
        )  # fmt: skip
    out.print(table)


def resume(
    run: RunArgument = None,
    resend_ambiguous: Resend = False,
    max_cost_usd: Budget = None,
    as_json: AsJson = False,
) -> None:
    """Finish a run that crashed, was stopped or reached its budget. What is paid costs nothing.

    Without an id: the newest run that is not complete.
    """
    _go_on(run, (), resend_ambiguous=resend_ambiguous, max_cost_usd=max_cost_usd, as_json=as_json)


def retry(
    run: RunArgument = None,
    only: Annotated[
        str, typer.Option(help="Error classes, such as rate_limited,unavailable; all by default.")
    ] = "",
    resend_ambiguous: Resend = False,
    max_cost_usd: Budget = None,
    as_json: AsJson = False,
) -> None:
    """Try again what failed in a run; `--only` leaves failures of other classes as they are.

    [dim]imagemill retry 01f3 --only rate_limited,unavailable[/]
    """
    classes = checked_classes(only)
    _go_on(
        run, classes, resend_ambiguous=resend_ambiguous, max_cost_usd=max_cost_usd, as_json=as_json
    )


def _go_on(name: str | None, only: tuple[str, ...], *, as_json: bool, **limits: Any) -> None:  # noqa: ANN401
    if name is not None and not name.strip():
        raise RequestError(
            "The run's id is empty.", remedy="Leave it out for the newest run that is not complete."
        )
    found, passed = asyncio.run(_earlier(name or ""))
    for run in passed:
        screen.print(f"[dim]· Passed over run {run.id[:13]}: it is at work[/]")
    if AmbiguousOutcome.error_class in only and not limits["resend_ambiguous"]:
        screen.print(LEFT_ALONE)
    screen.print(f"[dim]· Going on with run {found.id} ({found.state.replace('_', ' ')})[/]")
    with local_runs(found.total) as door:
        result = door.resume({"run": found.id, "only": list(only), **limits})
    (finish if found.kind == "batch" else finish_assets)(result, as_json=as_json)


def _facts(run: RunRow) -> dict[str, Any]:
    """Return what the run says of itself, without the words it was asked with."""
    said = json.loads(run.summary) if run.summary else {}
    return {
        **run.model_dump(mode="json", exclude={"request", "summary", "batch_digest", "holder"}),
        "success_count": said.get("success_count", 0),
        "failure_count": said.get("failure_count", 0),
    }


async def _latest(limit: int) -> list[tuple[RunRow, Money]]:
    url = Settings().ledger_url
    if not ledger_exists(url):
        return []
    ledger = open_ledger(url)
    try:
        return [(run, await ledger.money_of(run.id)) for run in await ledger.latest_runs(limit)]
    finally:
        ledger.close()


async def _earlier(name: str) -> tuple[RunRow, list[RunRow]]:
    """Return the run to go on with, and, where none was named, newer ones that are at work."""
    url = Settings().ledger_url
    if not ledger_exists(url):
        raise RequestError("There is no run yet.", remedy="Start one: imagemill batch …")
    ledger = open_ledger(url)
    try:
        found = await ledger.run_to_resume(name)
        living = [] if name else await ledger.living_runs()
        return found, [run for run in living if run.created_at > found.created_at]
    finally:
        ledger.close()
