"""Section `memory`: what fits on a card of 22 GB, with and without a ControlNet, and what the ladder saves.

On the CPU nothing is capped; there the benchmark plays a card that holds two images at a time.
"""

import io

import numpy as np
import torch
from PIL import Image

from bench.sdxl.ours import Crowded, asked, draw, options, running, standard
from bench.sdxl.run import Figures, Run, memory

TITLE = "Memory: under the cap, text to image and with a ControlNet"
STEPS = 3
"""Enough: the peak of every step is the same, and the decoder's comes once."""
PLAYED = 2


def measure(run: Run) -> None:
    for kind, control in (("text to image", "none"), ("with ControlNet", "canny")):
        rows = {}
        for bucket in run.setting.buckets:
            rows[bucket] = run.row(
                f"{kind}, bucket {bucket}", lambda b=bucket, c=control: _tried(run, b, c)
            )
        run.row(f"{kind}, largest bucket", lambda kept=rows: _largest(kept))


def aims(rows: dict[str, Figures]) -> list:
    fits = [row for name, row in rows.items()
            if name.startswith("with ControlNet, bucket") and row.get("fits")]  # fmt: skip
    if not any("reserved_peak_gb" in row for row in fits):
        return []
    peak = max(row["reserved_peak_gb"] for row in fits)
    return [("GB with ControlNet", peak, "<= 22", peak <= 22)]


def _tried(run: Run, bucket: int, control: str) -> Figures:
    setting = run.setting
    capped = {"vram_cap_gb": setting.vram_cap_gb} if setting.cuda else {}
    controls = {"canny": run.files.control} if control != "none" else {}
    nodes = None if setting.cuda else standard(Crowded(PLAYED))
    if setting.cuda:
        torch.cuda.reset_peak_memory_stats()
    name = next(iter(run.files.checkpoints))
    wanted = [
        asked(setting, name, at, bucket=bucket, steps=STEPS, control=control)
        for at in range(bucket)
    ]
    with running(options(run, bucket=bucket, controls=controls, **capped), nodes) as engine:
        frames, wall_s = draw(engine, wanted, [pictured(setting.size_px)] if controls else ())
        report = engine.report()
        held = memory(setting)
    figures = {
        "came": len(frames), "fits": report.out_of_memory == 0,
        "drawn_in": min(int(f.facts.get("bucket_drawn", bucket)) for f in frames),
        "tiled": sum(int(f.facts.get("tiled", 0)) for f in frames),
        "out_of_memory": report.out_of_memory, "wall_s": round(wall_s, 2), **held,
    }  # fmt: skip
    if setting.cuda:
        figures["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
        figures["reserved_peak_gb"] = round(torch.cuda.max_memory_reserved() / 1e9, 3)
    return figures


def _largest(rows: dict[int, Figures]) -> Figures:
    without = [bucket for bucket, row in rows.items() if row.get("fits")]
    with_ladder = [bucket for bucket, row in rows.items() if row.get("came") == bucket]
    return {
        "without_ladder": max(without, default=0),
        "with_ladder": max(with_ladder, default=0),
    }


def pictured(side_px: int) -> bytes:
    """A reference picture with edges in it, PNG."""
    x, y = np.meshgrid(np.arange(side_px), np.arange(side_px))
    rings = ((np.hypot(x - side_px / 2, y - side_px / 2) // (side_px / 12)) % 2 * 255).astype(
        np.uint8
    )
    out = io.BytesIO()
    Image.fromarray(np.repeat(rings[:, :, None], 3, axis=2)).save(out, "PNG")
    return out.getvalue()
