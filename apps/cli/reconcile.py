"""`imagemill reconcile`: lost answers, found in the spool or settled by a person."""

import asyncio
import json
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from apps.cli.screen import OTHER_TROUBLE, out, screen
from blocks.settings import Settings
from imagemill.errors import LedgerError, RequestError
from imagemill.ledger import Ledger, open_ledger
from imagemill.ledger.values import Payment, Question, Settlement
from imagemill.orphans import look_for_answers
from imagemill.spool import Spool


@dataclass
class Reckoning:
    """What was found, settled and refused, and what is still open."""

    questions: list[Question] = field(default_factory=list)
    found: dict[int, Payment] = field(default_factory=dict)
    settled: list[Settlement] = field(default_factory=list)
    refused: dict[int, LedgerError] = field(default_factory=dict)

    @property
    def open_usd(self) -> Decimal:
        """What is counted as spent and may not be."""
        return sum((question.reserved_usd for question in self.questions), Decimal(0))


def reconcile(
    not_billed: Annotated[
        list[str] | None,
        typer.Option("--not-billed", metavar="ID", help="Give this money back: 12, 12,13 or all."),
    ] = None,
    billed: Annotated[
        list[str] | None,
        typer.Option("--billed", metavar="ID", help="It is on the bill, and stays spent."),
    ] = None,
    run: Annotated[str, typer.Option(help="Only images of this run.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs, to standard output.")
    ] = False,
) -> None:
    """Settle images whose answer was lost: sent, perhaps billed, and never received.

    Each is counted as spent until somebody knows better. This looks into the spool of this machine
    first: an answer that lies there whole is charged at what it cost and is no question any more.
    For the rest, look at the provider's bill and say which were billed and which were not.

    A settled image is sent anew when it is asked for again, without --resend-ambiguous: if it was
    billed, that is a second payment. Settling twice changes nothing and is refused.

    [dim]imagemill reconcile --not-billed 12,13 --billed 14[/]
    """
    given_back, stays = _ids("--not-billed", not_billed), _ids("--billed", billed)
    if (given_back == "all" and stays) or (stays == "all" and given_back):
        raise RequestError("`all` leaves nothing for the other option.", remedy="Name the ids.")
    if set(given_back) & set(stays):
        raise RequestError("An image was either billed or not.", remedy="Name each id once.")
    reckoning = asyncio.run(_reckoned(given_back, stays, run_id=run or None))
    if as_json:
        sys.stdout.write(json.dumps(_json(reckoning), indent=2) + "\n")
    else:
        _show(reckoning)
    if reckoning.refused:
        raise typer.Exit(OTHER_TROUBLE)


Ids = list[int] | str
"""Reservation ids, or `all`."""


def _ids(option: str, said: list[str] | None) -> Ids:
    words = [word.strip() for part in said or [] for word in part.split(",") if word.strip()]
    if words == ["all"]:
        return "all"
    wrong = [word for word in words if not (word.isascii() and word.isdigit() and len(word) < 19)]
    if wrong:
        raise RequestError(
            f"{option} takes reservation ids; got {wrong[0][:20]!r}.",
            remedy="`imagemill reconcile` lists them: 12, or 12,13, or all.",
        )
    return list(dict.fromkeys(int(word) for word in words))


async def _reckoned(given_back: Ids, stays: Ids, *, run_id: str | None) -> Reckoning:
    settings = Settings()
    ledger = open_ledger(settings.ledger_url)
    try:
        done = Reckoning()
        questions = await ledger.open_questions(run_id)
        if run_id and not questions and await ledger.run(run_id) is None:
            raise RequestError(
                f"The ledger knows no run {run_id[:64]}.", remedy="`imagemill runs` lists them."
            )
        done.found = await look_for_answers(ledger, Spool(settings.home), questions)
        rest = [q.reservation_id for q in questions if q.reservation_id not in done.found]
        for ids, on_the_bill in ((given_back, False), (stays, True)):
            for number in rest if isinstance(ids, str) else ids:
                await _settled(ledger, number, done, billed=on_the_bill)
        done.questions = await ledger.open_questions(run_id)
    finally:
        ledger.close()
    return done


async def _settled(ledger: Ledger, number: int, done: Reckoning, *, billed: bool) -> None:
    try:
        done.settled.append(await ledger.settle(number, billed=billed))
    except LedgerError as error:
        done.refused[number] = error


def _show(done: Reckoning) -> None:
    for number, payment in done.found.items():
        screen.print(
            f"[green]found[/] {number}: its answer lay in the spool; charged ${payment.cost_usd}. "
            "The same batch within 15 minutes delivers it."
        )
    for one in done.settled:
        said = "billed" if one.billed else "not billed"
        money = f"${one.reserved_usd} stay spent" if one.billed else f"${one.refund_usd} given back"
        screen.print(f"[green]settled[/] {one.reservation_id}: {said}; {money}.")
    for error in done.refused.values():
        screen.print(f"[red]refused[/] {escape(str(error))}")
    if not done.questions:
        screen.print("No open question: every image sent is paid, failed or settled.")
        return
    out.print(_table(done.questions))
    screen.print(
        f"{len(done.questions)} open, ${done.open_usd} counted as spent. Look at the bill, then:\n"
        "[dim]→[/] imagemill reconcile --not-billed ID,ID   (the money is given back)\n"
        "[dim]→[/] imagemill reconcile --billed ID,ID       (it stays spent)"
    )


def _table(questions: list[Question]) -> Table:
    table = Table("id", "key", "run", "model", "USD", "lost at (UTC)", "why", box=None)
    for question in questions:
        table.add_row(
            str(question.reservation_id), question.key[:12], escape(question.run_id),
            escape(f"{question.provider} {question.model}"), str(question.reserved_usd),
            f"{question.since:%Y-%m-%d %H:%M}", question.error_class or "",
        )  # fmt: skip
    return table


def _json(done: Reckoning) -> dict[str, object]:
    return {
        "open_usd": str(done.open_usd),
        "questions": [q.model_dump(mode="json", exclude={"holder"}) for q in done.questions],
        "found": [
            {"reservation_id": number, "cost_usd": str(payment.cost_usd)}
            for number, payment in done.found.items()
        ],
        "settled": [one.model_dump(mode="json") for one in done.settled],
        "refused": [
            {"reservation_id": number, "error": str(error)}
            for number, error in done.refused.items()
        ],
    }
