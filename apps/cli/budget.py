"""`imagemill budget`: the ceilings of a day, and where today stands."""

import asyncio
import json
import sys
from decimal import Decimal
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from apps.cli.screen import out, screen
from blocks.settings import Settings
from imagemill.errors import RequestError
from imagemill.ledger import open_ledger
from imagemill.ledger.values import Ceiling
from imagemill.report import money


def budget(
    per_day: Annotated[
        float | None, typer.Option("--per-day", min=0, help="Set the most a day may cost, in USD.")
    ] = None,
    deployment: Annotated[
        str, typer.Option(help="The ceiling of one deployment, such as nightly.")
    ] = "",
    off: Annotated[bool, typer.Option("--off", help="Lift the ceiling.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what today cost, and set the most a day may cost: a hard stop for every run.

    A day is a UTC day. Reserved money counts; at the ceiling what is on the wire comes in and the
    rest is not started. One run has its own: `imagemill batch --max-cost-usd`.

    [dim]imagemill budget --per-day 20
    imagemill budget --per-day 5 --deployment nightly
    imagemill budget --off[/]
    """
    if off and per_day is not None:
        raise RequestError("--off and --per-day contradict each other.", remedy="Give one of them.")
    change = off or per_day is not None
    amount = None if per_day is None else Decimal(str(per_day))
    found = asyncio.run(_ceilings(deployment, amount, change=change))
    if as_json:
        rows = [each.model_dump(mode="json") for each in found]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    table = Table("what", "most a day", "spent today", "reserved", "left", box=None)
    for each in found:
        cap, used = each.per_day_usd, each.spent_usd + each.reserved_usd
        table.add_row(
            escape(each.deployment) or "[bold]everything[/]",
            "no ceiling" if cap is None else money(cap),
            money(each.spent_usd), money(each.reserved_usd),
            "" if cap is None else money(max(cap - used, Decimal(0))),
        )  # fmt: skip
    out.print(table)
    screen.print("[dim]A day begins at midnight UTC.[/]")


async def _ceilings(deployment: str, amount: Decimal | None, *, change: bool) -> list[Ceiling]:
    ledger = open_ledger(Settings().ledger_url)
    try:
        if change:
            await ledger.set_ceiling(amount, deployment=deployment)
        return await ledger.ceilings()
    finally:
        ledger.close()
