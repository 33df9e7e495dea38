"""Section `swap`: what a change of checkpoint costs, and whether ten of them leave anything behind."""

import os
import statistics
from pathlib import Path

from bench.sdxl.ours import asked, draw, options, running
from bench.sdxl.run import Figures, Run, memory

TITLE = "Swap: seconds until another checkpoint is resident"
STEPS = 2
"""Of the picture drawn after each change: it makes sure that the weights are used."""
GROWTH_GB = 0.064
"""What ten swaps may add to the process before it counts as growth: less than 1 % of a checkpoint."""


def measure(run: Run) -> None:
    run.row("copy in place", lambda: _copied(run))
    run.row("reload, page cache warm", lambda: _reloaded(run))


def aims(rows: dict[str, Figures]) -> list:
    row = rows.get("copy in place", {})
    if "median_s" not in row:
        return []
    return [
        ("swap, median s", row["median_s"], "<= 0.3", row["median_s"] <= 0.3),
        ("ten swaps, GB more", row["grown_gb"], f"<= {GROWTH_GB}", row["grown_gb"] <= GROWTH_GB),
    ]


def _copied(run: Run) -> Figures:
    """First load from a cold file, the others once, then swaps from host copies alone."""
    names = list(run.files.checkpoints)
    for file in run.files.checkpoints.values():
        dropped(file)
    with running(options(run, swap="copy")) as engine:
        first = _changed(engine, run, names[0])
        others = [_changed(engine, run, name) for name in names[1:]]
        turns = _turns(names, run.setting.swaps)
        for name in names:  # every host copy used once: from here on nothing is new
            _changed(engine, run, name)
        before = memory(run.setting)
        took = [_changed(engine, run, name) for name in turns]
        after = memory(run.setting)
        report = engine.report()
    return {
        "first_load_s": first, "next_load_s": _r(statistics.median(others)) if others else 0.0,
        **_spread(took), "swaps": report.swaps, "most_loads": max(report.loads.values()),
        **_growth(before, after),
    }  # fmt: skip


def _reloaded(run: Run) -> Figures:
    names = list(run.files.checkpoints)
    with running(options(run, swap="reload")) as engine:
        for name in names:
            _changed(engine, run, name)
        before = memory(run.setting)
        took = [_changed(engine, run, n) for n in _turns(names, min(run.setting.swaps, 6))]
        after = memory(run.setting)
        report = engine.report()
    return {
        **_spread(took), "releases": report.releases, "leaks": report.leaks,
        **_growth(before, after),
    }  # fmt: skip


def _turns(names: list[str], count: int) -> list[str]:
    """Every turn is a change: the last of the names is resident before the first one."""
    return [names[at % len(names)] for at in range(count)]


def _changed(engine, run: Run, name: str) -> float:
    """Draw with a checkpoint; return the seconds until it was resident."""
    frames, _ = draw(engine, [asked(run.setting, name, 1, bucket=1, steps=STEPS)])
    return float(frames[0].facts["checkpoint_s"])


def _spread(took: list[float]) -> Figures:
    return {"median_s": _r(statistics.median(took)), "worst_s": _r(max(took))}


def _growth(before: dict[str, float], after: dict[str, float]) -> Figures:
    """Return what is held before and after, and the largest growth of any of them."""
    grown = max(after[name] - before[name] for name in before)
    pairs = {name: f"{before[name]} -> {after[name]}" for name in before}
    return {**pairs, "grown_gb": round(grown, 4)}


def dropped(file: Path) -> None:
    """Put a file out of the page cache, so that it is read from the disk."""
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def _r(value: float) -> float:
    return float(f"{value:.4g}")
