"""Section `speed`: images a second of the engine by bucket, eager and compiled, against a plain loop.

Ours and plain take turns in the same process (A B A B), so that a drifting clock or a neighbour harms
both; the ratio is the median of the rounds' own ratios.
"""

import statistics
import time

from bench.sdxl.ours import asked, draw, options, running
from bench.sdxl.plain import PlainLoop
from bench.sdxl.run import Figures, Run

TITLE = "Speed: images/s against a plain diffusers loop (batch 1) in the same run"
PLAIN_IMAGES = {True: 2, False: 3}
"""Of one round, by whether it is tiny."""


def measure(run: Run) -> None:
    name = next(iter(run.files.checkpoints))
    plain = PlainLoop(run)
    plain.draw(name, 0, tag="warm up")
    for mode in run.setting.modes:
        for bucket in run.setting.buckets:
            run.row(f"{mode}, bucket {bucket}", lambda b=bucket, m=mode: _rates(run, plain, b, m))


def aims(rows: dict[str, Figures]) -> list:
    compiled = [row for name, row in rows.items() if name.startswith("compiled") and "ours" in row]
    if not compiled:
        return []
    best = max(row["ours"] for row in compiled)
    ratio = max(row["ratio"] for row in compiled)
    return [
        ("images/s, compiled", best, ">= 1.25", best >= 1.25),
        ("times the plain loop", ratio, ">= 2", ratio >= 2),
    ]


def _rates(run: Run, plain: PlainLoop, bucket: int, mode: str) -> Figures:
    setting = run.setting
    name = next(iter(run.files.checkpoints))
    chosen = options(run, compile=mode == "compiled", bucket=bucket)
    with running(chosen) as engine:
        began = time.perf_counter()
        frames, _ = draw(engine, _bucket(setting, name, bucket, count=bucket, tag="first"))
        first_s = time.perf_counter() - began - frames[0].facts["checkpoint_s"]
        pairs = []
        count = max(2, bucket if setting.tiny else 2 * bucket)
        before = engine.report()
        for each in range(setting.rounds):
            one = plain.rate(name, PLAIN_IMAGES[setting.tiny], tag=f"round {each}")
            wanted = _bucket(setting, name, bucket, count=count, tag=f"round {each}")
            pairs.append((one, count / draw(engine, wanted)[1]))
        after = engine.report()
        nodes, _ = draw(engine, _bucket(setting, name, bucket, count=bucket, tag="nodes"))
    theirs, ours = (statistics.median(each) for each in zip(*pairs, strict=True))
    return {
        "plain": _r(theirs), "ours": _r(ours),
        "ratio": _r(statistics.median(b / a for a, b in pairs)),
        "of_peak": _of_peak(run, ours),
        "first_call_s": _r(first_s), "padding": after.padding - before.padding,
        **_by_node(nodes[-1], bucket),
    }  # fmt: skip


def _of_peak(run: Run, images_per_s: float) -> float | None:
    try:
        return _r(images_per_s * run.tflop["image"] / run.peak_tflops)
    except Exception:  # no reason to lose the row
        return None


def _bucket(setting, name, bucket, *, count, tag):
    return [asked(setting, name, at, bucket=bucket, tag=tag) for at in range(count)]


def _by_node(frame, bucket: int) -> Figures:
    """Return seconds an image of each part; of a call for several, its share."""
    parts = {part: frame.facts[f"{part}_s"] / bucket for part in ("encode", "denoise", "decode")}
    parts["postprocess"] = frame.seconds["postprocess"]
    return {f"{part}_s": _r(took) for part, took in parts.items()}


def _r(value: float) -> float:
    return float(f"{value:.4g}")
