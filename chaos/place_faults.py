"""Rows in which the ground shakes: object store, disk, database, Prefect, clock."""

import os
import sqlite3
import subprocess
import time
from pathlib import Path

from chaos.provider_faults import IMAGES, Row
from chaos.stage import Stage

LOCKED_S = 33.0
"""Longer than the ledger waits for another writer (30 s)."""


def _in_the_middle(stage: Stage, break_it, mend_it, *, broken_s: float | None) -> None:
    """Start, break, mend (in `broken_s`, or when the run is over), finish."""
    stage.fake.script(latency_s=0.4)
    prompts = stage.batch(IMAGES)
    run = stage.start(prompts)
    stage.middle(run)
    break_it()
    if broken_s is not None:
        stage.until(lambda: False, of=run, within_s=broken_s)
        mend_it()
    stage.ended(run)
    mend_it()
    stage.finish(prompts)


def s3_refusing(stage: Stage) -> None:
    line = stage.s3_line
    _in_the_middle(stage, line.forbid, lambda: line.forbid(False), broken_s=None)


def s3_slow(stage: Stage) -> None:
    stage.s3_line.slow(0.5)
    prompts = stage.batch(IMAGES)
    stage.ended(stage.start(prompts))
    stage.finish(prompts)


def s3_away(stage: Stage) -> None:
    _in_the_middle(stage, stage.s3_line.gone, stage.s3_line.back, broken_s=6)


def s3_away_a_minute(stage: Stage) -> None:
    """Longer than uploads are retried: what is paid waits here, and the same batch brings it."""
    stage.fake.script(latency_s=0.4)
    prompts = stage.batch(IMAGES)
    run = stage.start(prompts)
    stage.middle(run)
    stage.s3_line.gone()
    stage.until(lambda: False, of=None, within_s=60)
    stage.s3_line.back()
    stage.ended(run)
    stage.finish(prompts)


def s3_away_to_the_end(stage: Stage) -> None:
    _in_the_middle(stage, stage.s3_line.gone, stage.s3_line.back, broken_s=None)


def disk_full(stage: Stage) -> None:
    """The home runs full in the middle; then there is room again."""
    if _mounted(stage.home, "3m"):
        stage.at_the_end(subprocess.run, ["umount", "-l", str(stage.home)])
        stage.notes.append("home on a tmpfs of 3 MB, later 64 MB")
        stage.fake.script(size_px=256, noise=True)
        job = {}
    else:
        # Without root: no file may grow above 6 MB, and after a while pictures are larger.
        stage.notes.append("RLIMIT_FSIZE of 6 MB (no root, no mount)")
        stage.fake.script(size_px=64, noise=True)
        job = {"largest_file_bytes": 6_000_000}
    prompts = stage.batch(IMAGES)
    run = stage.start(prompts, **job)
    if job:
        stage.until(stage.served(8), of=run)
        stage.fake.script(size_px=1500)
    stage.ended(run)
    if job:
        stage.fake.script(size_px=64)
    else:
        options = ["mount", "-o", "remount,size=64m", str(stage.home)]
        subprocess.run(options, check=True)
    stage.finish(prompts)


def _mounted(folder: Path, size: str) -> bool:
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "chaos", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def ledger_locked(stage: Stage) -> None:
    """Somebody else writes to the SQLite file, for longer than the ledger waits."""
    path = stage.ledger_url.removeprefix("sqlite:///")
    held = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    stage.at_the_end(held.close)

    def mend() -> None:
        if held.in_transaction:
            held.execute("ROLLBACK")

    _in_the_middle(stage, lambda: held.execute("BEGIN IMMEDIATE"), mend, broken_s=LOCKED_S)
    stage.notes.append(f"a foreign write lock of {LOCKED_S:.0f} s")


def ledger_restarted(stage: Stage) -> None:
    """PostgreSQL is shut down politely, comes back, and crashes a moment later."""
    cluster = stage.site.cluster

    def restart(how: str, away_s: float) -> None:
        cluster.stop(how)
        time.sleep(away_s)
        cluster.start()

    def twice() -> None:
        restart("fast", 0.5)
        time.sleep(0.7)
        restart("immediate", 2.0)

    _in_the_middle(stage, twice, lambda: None, broken_s=None)


def prefect_restarted(stage: Stage) -> None:
    site = stage.site
    _in_the_middle(stage, lambda: site.restart_prefect(away_s=2), lambda: None, broken_s=None)


def clock_ahead(stage: Stage) -> None:
    """The clock jumps an hour ahead in mid-run; killed; the next run is back in the present."""
    _clock(stage, first=((25, 3600.0),), second=())


def clock_back(stage: Stage) -> None:
    """The clock falls two hours back in mid-run; killed; the next run is a day ahead."""
    _clock(stage, first=((25, -7200.0),), second=((1, 86_400.0),))


def clock_wild(stage: Stage) -> None:
    """It jumps forth and back within each run."""
    wild = ((20, 5400.0), (35, -5400.0), (50, 90.0), (65, -86_400.0), (80, 0.0))
    _clock(stage, first=wild, second=wild)


def _clock(stage: Stage, *, first, second) -> None:
    # By the ledger's clock more than 15 minutes pass between runs, after which a run that ended is
    # not continued but made anew (docs/money.md, "the third case"): not what is looked at here.
    stage.parameters = {"reuse_within_s": 7 * 86_400}
    stage.fake.script(latency_s=0.4)
    prompts = stage.batch(IMAGES)
    run = stage.start(prompts, clock_jumps=first)
    stage.middle(run, first=12, last=20)
    stage.kills += run.kill()
    stage.finish(prompts, clock_jumps=second)
    stage.notes.append("killed once; only the ledger's clock jumps; reuse_within_s is a week")


PLACE_ROWS = [
    Row("s3-refusing", "S3 refusing (403)", s3_refusing),
    Row("s3-slow", "S3 slow (0.5 s and more)", s3_slow),
    Row("s3-away", "S3 gone for 6 s and back", s3_away),
    Row("s3-minute", "S3 gone for 60 s and back", s3_away_a_minute, long=True),
    Row("s3-gone", "S3 gone to the end of the run", s3_away_to_the_end),
    Row("disk-full", "Disk full on the spool", disk_full),
    Row("ledger-locked", "Ledger locked by another writer", ledger_locked, database="sqlite"),
    Row("ledger-restarted", "Ledger database restarted twice", ledger_restarted,
        alone=True, database="postgresql"),
    Row("prefect-restarted", "Prefect server restarted", prefect_restarted, alone=True),
    Row("clock-ahead", "Clock an hour ahead in mid-run", clock_ahead),
    Row("clock-back", "Clock two hours back in mid-run", clock_back),
    Row("clock-wild", "Clock jumping forth and back", clock_wild),
]  # fmt: skip
