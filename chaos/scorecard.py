"""The scorecard: on the terminal with rich, and as docs/reliability.md, from the same figures."""

import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from chaos.stage import Outcome

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}

COLUMNS = (
    ("fault", "what was done to a batch"),
    ("asked", "images asked for"),
    ("first", "delivered by the first run, under the fault; – where that run was killed"),
    ("delivered", "delivered in the end: the last run hands it out, and the store gives back bytes of "
     "that very digest"),
    ("requests", "requests for an image that reached the provider"),
    ("served", "pictures that the provider sent out whole"),
    ("charged", "images in the ledger as paid and received"),
    ("**twice**", "charged twice without a word: on the provider's bill more often than in the ledger, "
     "or paid again though nobody asked to resend. Must be 0"),
    ("ambiguous", "attempts whose answer was lost: listed, counted as spent, sent again only when "
     "the last run asked for it"),
    ("refused", "images that the last run lists as not made (safety)"),
    ("**lost**", "pictures sent out whole, or paid, that are neither delivered nor listed. Must be 0"),
    ("**copies**", "objects that are a second copy, or that no charge is written for. Must be 0"),
    ("**books**", "reservations left open, charges that do not add up, bills without a counted "
     "attempt. Must be 0"),
    ("webhooks", "events received by id / in the outbox; +n: the same id came again n times. All must "
     "come"),
    ("s", "wall seconds of the row, all its runs together"),
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """One database's table."""

    database: str
    outcomes: list[Outcome]
    seed: int
    seconds: float

    @property
    def kills(self) -> int:
        return sum(outcome.kills for outcome in self.outcomes)


def merged(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Add up rows of the same title: one fault that was spread over several processes."""
    by_title: dict[str, Outcome] = {}
    for each in outcomes:
        before = by_title.get(each.title)
        by_title[each.title] = before + each if before else each
    return list(by_title.values())


def cells(outcome: Outcome) -> list[str]:
    """One row, in the order of `COLUMNS`."""
    v = outcome.verdict
    again = f" +{v.events_again}" if v.events_again else ""
    figures = (
        v.asked, "–" if outcome.first is None else outcome.first, v.delivered, v.requests, v.served, v.charged, v.charged_twice,
        v.ambiguous, v.listed_failed, v.lost, v.stored_twice,
        v.unbalanced + v.unsettled + v.uncounted,
    )  # fmt: skip
    events = f"{v.events_received}/{v.events}{again}"
    return [outcome.name, *map(str, figures), events, f"{outcome.seconds:.0f}"]


def show(section: Section, out: Console) -> None:
    """Print the table, then what it does not say in figures."""
    title = f"{NAMES[section.database]}, seed {section.seed}, {section.seconds:.0f} s"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name, _ in COLUMNS:
        table.add_column(name.strip("*"), justify="left" if name == "fault" else "right")
    for outcome in section.outcomes:
        table.add_row(*cells(outcome), style="bold red" if outcome.broken else "")
    out.print(table)
    for outcome in section.outcomes:
        for problem in outcome.broken:
            out.print(f"BROKEN  {outcome.name}: {problem}", style="bold red")


def write(path: Path, sections: list[Section]) -> None:
    """Write the report; the other database's section stays as its own run wrote it."""
    old = _sections_of(path.read_text("utf-8")) if path.exists() else {}
    new = {NAMES[s.database]: _markdown(s) for s in sections}
    bodies = [text for name in NAMES.values() if (text := new.get(name) or old.get(name))]
    path.write_text("\n".join([_head(), *bodies]), "utf-8")


def _sections_of(text: str) -> dict[str, str]:
    parts = re.split(r"^(?=## )", text, flags=re.M)[1:]
    by_name = {part.splitlines()[0].removeprefix("## ").strip(): part for part in parts}
    return {name: part.rstrip() + "\n" for name, part in by_name.items() if name in NAMES.values()}


def _head() -> str:
    lines = [f"| {name} | {words} |" for name, words in COLUMNS]
    return "\n".join([
        "# Reliability", "",
        "Written by `python -m chaos` (`make chaos`, `make chaos-full`); do not edit. It runs real batches: the flow in a",
        "process of its own, against a Prefect server, SeaweedFS and, over HTTP, a fake Gemini that keeps its own bill. It breaks",
        "something, mends it, starts the same batch again, and at last asks to resend what is unclear. Then it compares four",
        "witnesses: the fake's bill, the ledger's tables read by SQL, the objects read back from the store, the webhook receiver.",
        "", "| column | means |", "|---|---|", *lines, "",
        "Columns in bold must be 0 in every row; if one is not, the command ends with an error.", "",
    ])  # fmt: skip


def _markdown(section: Section) -> str:
    names = [name for name, _ in COLUMNS]
    rows = ["| " + " | ".join(cells(outcome)) + " |" for outcome in section.outcomes]
    broken = [f"- **BROKEN** {o.name}: {text}" for o in section.outcomes for text in o.broken]
    notes = [f"- {o.name}: {'; '.join(o.notes)}." for o in section.outcomes if o.notes]
    rule = "|---|" + "---:|" * (len(names) - 1)
    verdict = "\n".join(broken) if broken else "No promise was broken."
    return "\n".join([
        f"## {NAMES[section.database]}", "", _when(section), "",
        f"| {' | '.join(names)} |", rule, *rows, "", verdict, "", *notes, "",
    ])  # fmt: skip


def _when(section: Section) -> str:
    now = datetime.now(UTC)
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{now:%Y-%m-%d %H:%M} UTC, seed {section.seed}, {section.kills} kills, "
        f"{section.seconds:.0f} s. {os.cpu_count()} cores, {memory_gb:.0f} GB, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}."
    )
