"""`make bench-sdxl`: speed, memory, swaps and equality of the SDXL engine, and its peers in the same run.

    python -m bench.sdxl --tiny                              every section on the CPU, in seconds
    python -m bench.sdxl --scratch DIR --out FILE.json       all of it on a GPU
    python -m bench.sdxl --only speed --modes compiled --budget-s 400 --scratch DIR --out FILE.json
    python -m bench.sdxl --show FILE.json                    the tables of an earlier run

Each row is written down as soon as it is measured; a call with --only replaces its rows in --out.
Full size writes 24 GB into --scratch, once: three checkpoints of random numbers, VAE and ControlNet.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from bench.sdxl import equal, grouped, memory, overlap, peak, speed, swap
from bench.sdxl.run import Run, Setting
from bench.sdxl.tables import show

SECTIONS = {
    "peak": peak, "speed": speed, "swap": swap, "memory": memory, "equal": equal,
    "grouped": grouped, "overlap": overlap,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    if options.show:
        found = json.loads(options.show.read_text("utf-8"))["sections"]
        for name in (each for each in SECTIONS if each in found):
            show(SECTIONS[name].TITLE, found[name])
        return 0
    silence()
    setting = setting_of(options)
    if setting.tiny:
        torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        scratch = options.scratch or Path(folder)
        run = Run(setting, scratch, out=options.out, budget_s=options.budget_s)
        return measured(run, options.only)


def measured(run: Run, names: list[str]) -> int:
    """Measure the sections one after the other; returns how many have a row without figures."""
    for name in names:
        run.start(name)
        began = time.perf_counter()
        section = SECTIONS[name]
        try:
            section.measure(run)
        except Exception as error:  # a section that cannot even begin loses no other's figures
            run.sections[name]["error"] = f"{type(error).__name__}: {str(error)[:300]}"
        done = run.sections[name]
        done["seconds"] = round(time.perf_counter() - began, 1)
        found = section.aims(done["rows"])
        judged = run.setting.cuda and not run.setting.tiny
        done["aims"] = [
            {"what": what, "figure": figure, "aim": aim, "met": bool(met) if judged else None}
            for what, figure, aim, met in found
        ]
        run.save()
        show(section.TITLE, done)
    return sum(_failed(run.sections[name]) for name in names)


def silence() -> None:
    """No bars of other libraries between the rows."""
    import diffusers
    import transformers

    transformers.logging.set_verbosity_error()
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()


def _failed(section: dict) -> bool:
    return "error" in section or any(
        "error" in row or "skipped" in row for row in section["rows"].values()
    )


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.sdxl", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    a = parser.add_argument
    a("--tiny", action="store_true", help="a model of 3 M parameters, 64 px, on the CPU")
    a("--device", help="cuda where there is one")
    a("--dtype", help="bfloat16; float32 with --tiny")
    a("--size-px", type=int, help="side of the pictures: 1024; 64 with --tiny")
    a("--steps", type=int, help="30; 4 with --tiny")
    a("--buckets", type=numbers, default=(1, 4, 8), help="1,4,8")
    a("--modes", type=words, help="eager,compiled; eager with --tiny")
    a("--rounds", type=int, default=3, help="turns of A and B; medians are shown")
    a("--requests", type=int, default=30, help="of the mixed-style run")
    a("--swaps", type=int, default=10)
    a("--checkpoints", type=int, default=3, choices=(2, 3, 4))
    a("--vram-cap-gb", type=float, default=22.0)
    a("--only", type=words, default=tuple(SECTIONS), help=",".join(SECTIONS))
    a("--scratch", type=Path, help="where the checkpoints are written and found again")
    a("--out", type=Path, help="JSON of all figures; kept up to date row by row")
    a("--show", type=Path, help="print the tables of a JSON, measure nothing")
    a("--budget-s", type=float, default=float("inf"), help="begin no row after so many seconds")
    options = parser.parse_args(arguments)
    unknown = set(options.only) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    cuda = torch.cuda.is_available() and not options.tiny
    options.device = options.device or ("cuda" if cuda else "cpu")
    if options.device == "cpu" and not (options.tiny or options.show or options.size_px):
        print("No GPU here: the tiny model instead. Its figures say nothing of a GPU's speed.")
        options.tiny = True
    return options


def setting_of(options: argparse.Namespace) -> Setting:
    tiny = options.tiny
    return Setting(
        tiny=tiny, device=options.device, dtype=options.dtype or ("float32" if tiny else "bfloat16"),
        size_px=options.size_px or (64 if tiny else 1024), steps=options.steps or (4 if tiny else 30),
        buckets=options.buckets, rounds=options.rounds,
        modes=options.modes or (("eager",) if tiny else ("eager", "compiled")),
        requests=options.requests, swaps=options.swaps, checkpoints=options.checkpoints,
        vram_cap_gb=options.vram_cap_gb,
    )  # fmt: skip


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(","))


if __name__ == "__main__":
    raise SystemExit(main())
