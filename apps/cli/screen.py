"""What the terminal shows: errors with their remedy, a live bar, a closing card.

Everything for people goes to standard error; standard output carries results alone.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import wraps
from pathlib import Path
from shutil import which
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table

from imagemill.credits import shares_in_words
from imagemill.errors import ImagemillError, RequestError, RunStopped
from imagemill.workshop import Progress

P = ParamSpec("P")
T = TypeVar("T")

screen = Console(stderr=True, highlight=False)
out = Console(highlight=False)
if not out.is_terminal:
    out = Console(highlight=False, width=200)  # a pipe has no width to fit into
STOPPED = "[yellow]Stopped.[/] What is paid is kept; the same command again finishes the rest."
TORN_OFF = (
    "What was torn off on the wire may be billed: it is listed as ambiguous then, and "
    "--resend-ambiguous pays for another attempt."
)
OTHER_TROUBLE, USAGE, SOME_FAILED, ALL_FAILED, INTERRUPTED = 1, 2, 3, 4, 130


def guarded(command: Callable[P, T]) -> Callable[P, T]:
    """Turn our errors into one clear line and an exit code; a door, so it catches them all."""

    @wraps(command)
    def door(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except ImagemillError as error:
            screen.print(f"[bold red]Error:[/] {escape(error.message)}")
            if error.remedy:
                screen.print(f"[dim]→[/] {escape(error.remedy)}")
            code = USAGE if isinstance(error, RequestError) else OTHER_TROUBLE
            raise typer.Exit(code) from None
        except KeyboardInterrupt:
            screen.print(f"{STOPPED} {TORN_OFF}")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            # Ctrl-C while a library is being imported comes out as that library's own error.
            if "KeyboardInterrupt" not in f"{error!r} {error.__cause__!r} {error.__context__!r}":
                raise
            screen.print("[yellow]Stopped[/] before anything was sent.")
            raise typer.Exit(INTERRUPTED) from None

    return door


def own_command() -> str:
    """Return what to type for this program: its name, or its path where it is not on PATH."""
    if which("imagemill"):
        return "imagemill"
    program = Path(sys.argv[0]).absolute()
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)


def say(line: str) -> None:
    """Tell one fact about the services, quietly."""
    screen.print(f"[dim]· {escape(line)}[/]")


@contextmanager
def live_bar(total: int) -> Iterator[Callable[[Progress], None]]:
    """Show a bar that moves with every image."""
    bar = Bar(
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[notes]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=False,
    )
    task = bar.add_task("Drawing", total=total, notes="")
    # No bar before the first image: what is refused at the door leaves none behind.
    status = screen.status("Checking the request and opening the run …")

    def moved(progress: Progress) -> None:
        status.stop()
        bar.start()
        notes = [f"[green]{progress.succeeded - progress.reused} made[/]"]
        if progress.reused:
            notes.append(f"[cyan]{progress.reused} reused[/]")
        if progress.failed:
            notes.append(f"[red]{progress.failed} not made[/]")
        whole = max(total, progress.total)  # frames are added on the way
        bar.update(task, total=whole, completed=progress.completed, notes=" ".join(notes))

    status.start()
    try:
        yield moved
    finally:
        status.stop()
        bar.stop()


@contextmanager
def busy(words: str) -> Iterator[Callable[[str, str], None]]:
    """Show a spinner with a line that services can change while they start."""
    with screen.status(words) as status:
        yield lambda name, note: status.update(f"{words} {escape(name)} {escape(note)}")


def closing_card(result: dict[str, Any], *, title: str) -> Group:
    """Return the summary a person reads at the end: counts, money, where things are."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("images", _counts(result))
    if shares := _shares(result):
        table.add_row("drawn", escape(shares))
    table.add_row("cost", _money(result))
    if unclear := [each for each in result["results"] if each["status"] == "ambiguous"]:
        held = sum((Decimal(each["cost_usd"]) for each in unclear), Decimal(0))
        table.add_row(
            "in doubt",
            f"[yellow]{len(unclear)}, ${held} counted as spent[/]: `imagemill reconcile`",
        )
    if result["seconds"]:
        table.add_row("time", f"{result['seconds']:.1f} s from first request to last image stored")
    if told := _WEBHOOK.get(result.get("webhook", "none")):
        table.add_row("webhook", told)
    colour = "green" if not result["failure_count"] else "yellow"
    panel = Panel(table, title=f"[bold]{escape(title)}", border_style=colour, expand=False)
    failures = failure_table(result)
    return Group(panel, *([failures] if failures else []))


def show_closing(result: dict[str, Any], *, title: str) -> None:
    """Print the closing card, then where things are, each path whole, so that it can be copied."""
    screen.print(closing_card(result, title=title))
    made = [image for image in result["results"] if image["success"]]
    if len(made) == 1:
        screen.print(f"  picture        {made[0]['local_path']}", soft_wrap=True, markup=False)
    for name, field in (("contact sheet", "contact_sheet_path"), ("gallery      ", "gallery_path")):
        if result[field]:
            screen.print(f"  {name}  {result[field]}", soft_wrap=True, markup=False)


_WEBHOOK = {
    "delivered": "delivered",
    "pending": "[yellow]not delivered yet[/]; tried again for hours while `imagemill up` runs",
    "dead": "[red]refused for good[/]; see `imagemill webhooks`",
}


def _counts(result: dict[str, Any]) -> str:
    made = f"[bold]{result['success_count']}[/] of {result['total']} made"
    inside = [
        f"{result[field]} {word}"
        for field, word in (
            ("reused_count", "reused, paid before"),
            ("retried_count", "after a retry"),
        )
        if result[field]
    ]
    parts = [f"{made} ({', '.join(inside)})" if inside else made]
    if lacking := result["failure_count"]:
        unclear = result["ambiguous_count"]
        parts.append(f"{lacking} not made" + (f" ({unclear} ambiguous)" if unclear else ""))
    return ", ".join(parts)


def _shares(result: dict[str, Any]) -> str:
    made = [image for image in result["results"] if image["success"]]
    return shares_in_words(f"{image['provider']}/{image['model']}" for image in made)


def _money(result: dict[str, Any]) -> str:
    line = f"${result['cost_usd']} spent"
    if float(result["saved_usd"]):
        line += f", ${result['saved_usd']} saved by reuse"
    elif result["reused_count"]:
        line += f"; {result['reused_count']} reused for nothing"
    return line


def failure_table(result: dict[str, Any]) -> Table | None:
    """Return failures, equal ones together, or None. Names images by number, never by prompt."""
    failures = [
        (number, entry)
        for number, entry in enumerate(result["results"], 1)
        if not entry["success"] and entry["error_class"] != RunStopped.error_class
    ]
    if not failures:
        return None
    table = Table("image", "what", "why and what to do", title_justify="left", box=None)
    alike: dict[tuple[str, str], list[int]] = {}
    for number, entry in failures:
        alike.setdefault((entry["status"].replace("_", " "), entry["error"]), []).append(number)
    for (status, error), numbers in list(alike.items())[:20]:
        table.add_row(_ranges(numbers), status, escape(error))
    if len(alike) > 20:
        table.add_row("…", "", f"and {len(alike) - 20} other reasons in the gallery")
    return table


def _ranges(numbers: list[int]) -> str:
    """Return ascending numbers as people write them: 1-4, 7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number, number])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
