"""Plays every row, prints the scorecard, writes it, and ends with 1 when a promise was broken."""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chaos.kills import TWIN_ROWS, kill_rows
from chaos.place_faults import PLACE_ROWS
from chaos.provider_faults import PROVIDER_ROWS, Row
from chaos.scorecard import Section, merged, show, write
from chaos.site import Interrupted, Site
from chaos.stage import Outcome, Stage

REPORT = Path("docs/reliability.md")
KILLS, KILLS_FULL = 20, 100
LANES = 3
"""Rows side by side: most of their time is waiting."""

INTERRUPTED = Event()
"""Somebody pressed Ctrl-C: the rows that are done are shown, and no report is written."""

out = Console(highlight=False, width=None if Console().is_terminal else 160)


@dataclass
class Play:
    """All rows of one database."""

    site: Site
    database: str
    rows: list[Row]
    seed: int
    lanes: int
    progress: Progress
    done: dict[str, Outcome] = field(default_factory=dict)

    def run(self) -> None:
        """Play side by side what may; then, alone, what breaks the shared services."""
        task = self.progress.add_task(self.database, total=len(self.rows))
        together = [row for row in self.rows if not row.alone]
        together.sort(key=lambda row: not row.long)  # first: others find room beside them
        with ThreadPoolExecutor(self.lanes) as lanes:
            pending: set[Future[None]] = {lanes.submit(self._one, row, task) for row in together}
            while pending:
                try:
                    ended, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                except KeyboardInterrupt:
                    self._stop()
                    for future in pending:
                        future.cancel()
                    pending = {future for future in pending if not future.cancelled()}
                    continue
                for future in ended:
                    future.result()
        for row in self.rows:
            if row.alone and not self.site.stopping.is_set():
                try:
                    self._one(row, task)
                except KeyboardInterrupt:
                    self._stop()

    def _one(self, row: Row, task) -> None:
        if self.site.stopping.is_set():
            return
        rng = random.Random(f"{self.seed}/{row.name}")
        try:
            with Stage(self.site, row.name, database=self.database, rng=rng) as stage:
                row.play(stage)
                outcome = stage.outcome(row.title)
        except Interrupted:
            return
        except Exception as error:
            outcome = Outcome(row.title, problems=[f"the row itself failed: {error!r}"])
        self.done[row.name] = outcome
        self._tell(row, outcome, task)

    def _tell(self, row: Row, outcome: Outcome, task) -> None:
        v = outcome.verdict
        said = f"{v.delivered}/{v.asked} delivered, {v.ambiguous} ambiguous"
        words = "; ".join(outcome.broken) or said
        style = "bold red" if outcome.broken else "dim"
        self.progress.console.print(
            f"  {self.database} {row.name}: {words} ({outcome.seconds:.0f} s)", style=style
        )
        self.progress.advance(task)

    def _stop(self) -> None:
        self.site.stopping.set()
        INTERRUPTED.set()
        self.progress.console.print("Stopping; the rows that are done follow.", style="yellow")

    @property
    def outcomes(self) -> list[Outcome]:
        return merged(self.done[row.name] for row in self.rows if row.name in self.done)


def chosen_rows(database: str, *, kills: int, only: list[str], full: bool) -> list[Row]:
    """Return the rows of a database; `only` names rows, or the beginning of their names."""
    rows = [*kill_rows(kills), *PROVIDER_ROWS, *PLACE_ROWS, *TWIN_ROWS]
    rows = [row for row in rows if row.database in {"", database}]
    rows = [row for row in rows if full or only or not row.long]
    return [row for row in rows if not only or any(row.name.startswith(name) for name in only)]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="SQLite and PostgreSQL, 200 kills, stalls of 60 s"
    )
    parser.add_argument("--seed", type=int, help="replay the random choices of a run")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="these rows")
    parser.add_argument("--kills", type=int, help="kill -9 so many times on each database")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--lanes", type=int, default=LANES, help="rows side by side")
    parser.add_argument("--report", type=Path, help=f"where to write it; {REPORT} without --only")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    return parser.parse_args()


def main() -> None:
    given = options()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    kills = given.kills if given.kills is not None else (KILLS_FULL if given.full else KILLS)
    databases = given.database or (["sqlite", "postgresql"] if given.full else ["sqlite"])
    out.print(f"Seed {seed} (replay: python -m chaos --seed {seed}); {kills} kills a database")
    sections = list(played(given, databases, seed=seed, kills=kills))
    for section in sections:
        show(section, out)
    report = given.report or (None if given.only else REPORT)
    if INTERRUPTED.is_set():
        sys.exit(130)
    if report:
        write(report, sections)
        out.print(f"Written to {report}")
    broken = any(outcome.broken for section in sections for outcome in section.outcomes)
    sys.exit(1 if broken else 0)


def played(given, databases: list[str], *, seed: int, kills: int) -> Iterator[Section]:
    """Play each database's rows on one site; yields what was finished, also after Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="imagemill-chaos-"))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=out, transient=True) as progress:
        say = lambda line: progress.console.print(f"  {line}", style="dim")  # noqa: E731
        with Site(folder, say=say, postgres="postgresql" in databases) as site:
            for database in databases:
                rows = chosen_rows(database, kills=kills, only=given.only, full=given.full)
                play = Play(site, database, rows, seed, given.lanes, progress)
                began = time.monotonic()
                play.run()
                yield Section(database, play.outcomes, seed, time.monotonic() - began)
                if site.stopping.is_set():
                    break
    if given.keep:
        out.print(f"Kept {folder}")
    else:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
