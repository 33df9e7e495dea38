"""Section `overlap`: PNG on threads while the next bucket is drawn, against PNG in the loop.

One engine, one set of weights: a switch moves the encoding, so nothing else differs.
"""

import statistics

from bench.sdxl.ours import Inline, Later, asked, draw, options, running
from bench.sdxl.run import Figures, Run
from imagemill.providers.sdxl.generate import Generate
from imagemill.providers.sdxl.preprocess import Preprocess

TITLE = "Overlap: encoding beside drawing"
CALLS = 3


def measure(run: Run) -> None:
    for bucket in run.setting.buckets[:2]:
        run.row(f"bucket {bucket}", lambda b=bucket: _rates(run, b))


def aims(rows: dict[str, Figures]) -> list:
    return []


def _rates(run: Run, bucket: int) -> Figures:
    setting, inline = run.setting, Inline()
    name = next(iter(run.files.checkpoints))
    nodes = [Preprocess(), Generate(), inline, Later()]
    count = CALLS * bucket
    pairs, encoding_s = [], []
    with running(options(run, bucket=bucket), nodes) as engine:
        draw(engine, [asked(setting, name, 0, bucket=bucket, tag="first")])
        for each in range(setting.rounds):
            walls = []
            for inline.on in (True, False):
                wanted = [
                    asked(setting, name, at, bucket=bucket, tag=f"round {each}")
                    for at in range(count)
                ]
                frames, wall_s = draw(engine, wanted)
                walls.append(wall_s)
            pairs.append(tuple(walls))
            encoding_s += [frame.seconds["postprocess"] for frame in frames]
    slow, quick = (statistics.median(each) for each in zip(*pairs, strict=True))
    return {
        "images": count, "inline": _r(count / slow), "on_threads": _r(count / quick),
        "ratio": _r(statistics.median(a / b for a, b in pairs)),
        "png_s_each": _r(statistics.median(encoding_s)),
    }  # fmt: skip


def _r(value: float) -> float:
    return float(f"{value:.4g}")
