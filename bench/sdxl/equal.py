"""Section `equal`: whether an image depends on its neighbours, on its bucket's size, or on the day."""

import io
import math
from itertools import pairwise

import numpy as np
from PIL import Image

from bench.sdxl.ours import asked, draw, draw_full, options, running
from bench.sdxl.run import Figures, Run

TITLE = "Equal: the same request is the same picture"
BUCKET = 4


def measure(run: Run) -> None:
    run.row(f"bucket {BUCKET}, full against padded", lambda: _neighbours(run))
    run.row(f"bucket 1 against bucket {BUCKET}", lambda: _bucket_sizes(run))
    run.row("drawn twice", lambda: _twice(run))


def aims(rows: dict[str, Figures]) -> list:
    row = rows.get(f"bucket {BUCKET}, full against padded", {})
    if "bitwise" not in row:
        return []
    return [("full and padded bucket, bitwise", row["bitwise"], "True", row["bitwise"])]


def _neighbours(run: Run) -> Figures:
    """Each image in a full bucket, and alone in a padded one of the same size."""
    wanted = _wanted(run, bucket=BUCKET)
    with _engine(run) as engine:
        full, calls = draw_full(engine, run.setting, wanted)
        alone = [draw(engine, [each])[0][0] for each in wanted]
    return {**_compared(full, alone), "calls_of_the_full": calls}


def _bucket_sizes(run: Run) -> Figures:
    with _engine(run) as engine:
        one = draw(engine, _wanted(run, bucket=1))[0]
        four, _ = draw_full(engine, run.setting, _wanted(run, bucket=BUCKET))
    return _compared(one, four)


def _twice(run: Run) -> Figures:
    """Before and after the checkpoint was another one; so a swap back brings every number back."""
    names = list(run.files.checkpoints)
    with _engine(run) as engine:
        first = draw(engine, _wanted(run, bucket=1))[0]
        draw(engine, [asked(run.setting, names[-1], 1, bucket=1)])
        again = draw(engine, _wanted(run, bucket=1))[0]
    return _compared(first, again)


def _engine(run: Run):
    return running(options(run, bucket=BUCKET))


def _wanted(run: Run, *, bucket: int) -> list:
    name = next(iter(run.files.checkpoints))
    return [asked(run.setting, name, at, bucket=bucket) for at in range(BUCKET)]


def _compared(some, others) -> Figures:
    """Return whether pixels are the same, the largest difference of 255, and PSNR of the worst pair."""
    pairs = [(_pixels(a), _pixels(b)) for a, b in zip(some, others, strict=True)]
    psnr_db = min(_psnr_db(a, b) for a, b in pairs)
    pictures = [a for a, _ in pairs]
    return {
        "bitwise": all(np.array_equal(a, b) for a, b in pairs),
        "largest_of_255": int(max(np.abs(a - b).max() for a, b in pairs)),
        "psnr_db": "same" if math.isinf(psnr_db) else round(psnr_db, 1),
        "all_differ_by_seed": not any(np.array_equal(a, b) for a, b in pairwise(pictures)),
    }


def _pixels(frame):
    return np.asarray(Image.open(io.BytesIO(frame.data)).convert("RGB")).astype(int)


def _psnr_db(a, b) -> float:
    error = float(((a - b) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
