"""Section `grouped`: mixed styles through the engine, against the same ones drawn as they come.

The naive loop does what a queue of single jobs does: at each change of style it loads the checkpoint.
The middle row, sorted by style but otherwise as naive, tells what grouping alone saves.
"""

import random
import time

from bench.sdxl.ours import asked, draw, options, running
from bench.sdxl.plain import PlainLoop
from bench.sdxl.run import Figures, Run
from imagemill.providers.sdxl.buckets import bucket_sizes, group_of, order
from imagemill.providers.sdxl.options import SdxlOptions

TITLE = "Grouped: mixed styles in one run, first load included"
SEED = 7
GIVEN = "plain loop, as given"
SORTED = "plain loop, sorted by style"
OURS = "engine"


def measure(run: Run) -> None:
    styles = mixed(list(run.files.checkpoints), run.setting.requests)
    given = run.row(GIVEN, lambda: _plain(run, styles))
    ours = run.row(OURS, lambda: _engine(run, styles))
    run.row(SORTED, lambda: _plain(run, sorted(styles)))
    if "wall_s" in given and "wall_s" in ours:
        run.row("ratio, as given to engine", lambda: {
            "wall": _r(given["wall_s"] / ours["wall_s"]),
            "loads": _r(given["loads"] / ours["loads"]),
        })  # fmt: skip


def aims(rows: dict[str, Figures]) -> list:
    row = rows.get(OURS, {})
    if "loads_each" not in row:
        return []
    once = row["loads_each"] == 1
    return [("loads of each checkpoint", row["loads_each"], "1", once)]


def mixed(names: list[str], count: int) -> list[str]:
    """Return as many of each style, in an order that is random and always the same."""
    styles = [names[at % len(names)] for at in range(count)]
    random.Random(SEED).shuffle(styles)
    return styles


def _plain(run: Run, styles: list[str]) -> Figures:
    loop = PlainLoop(run)
    began = time.perf_counter()
    for at, style in enumerate(styles):
        loop.draw(style, at)
    wall_s = time.perf_counter() - began
    return _figures(styles, wall_s, loads=loop.loads)


def _engine(run: Run, styles: list[str]) -> Figures:
    """As the flow does it: buckets by the size of the group, asked for in the provider's order."""
    plain = [asked(run.setting, style, at, bucket=1) for at, style in enumerate(styles)]
    most = SdxlOptions.model_fields["bucket"].default
    sizes = bucket_sizes([group_of(each) for each in plain], most=most)
    wanted = [
        asked(run.setting, style, at, bucket=size)
        for at, (style, size) in enumerate(zip(styles, sizes, strict=True))
    ]
    began = time.perf_counter()
    with running(options(run, bucket=most)) as engine:
        places = order([group_of(each) for each in wanted])
        draw(engine, [wanted[at] for at in places])
        report = engine.report()
        wall_s = time.perf_counter() - began
    loads = report.loads
    more = {"swaps": report.swaps, "calls": report.calls, "padding": report.padding}
    return {
        **_figures(styles, wall_s, loads=sum(loads.values())),
        "loads_each": max(loads.values()), **more,
    }  # fmt: skip


def _figures(styles: list[str], wall_s: float, *, loads: int) -> Figures:
    return {
        "images": len(styles), "loads": loads, "wall_s": _r(wall_s),
        "images_per_s": _r(len(styles) / wall_s),
    }  # fmt: skip


def _r(value: float) -> float:
    return float(f"{value:.4g}")
