"""One call of the benchmark: its setting, its files, the clock it must keep, and the figures so far."""

import json
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import torch

from bench.sdxl.scratch import Files, emptied, prepare, prepare_config

Figures = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What is measured. `steps` of `size_px` squared pictures; the same for ours and for plain."""

    tiny: bool
    device: str
    dtype: str
    size_px: int
    steps: int
    buckets: tuple[int, ...]
    modes: tuple[str, ...]
    rounds: int
    requests: int
    swaps: int
    checkpoints: int
    vram_cap_gb: float
    guidance: float = 6.0

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")


@dataclass
class Run:
    """Collects figures and writes them down after each row, so that nothing measured is lost."""

    setting: Setting
    scratch: Path
    out: Path | None = None
    budget_s: float = float("inf")
    say: Callable[[str], None] = print
    sections: dict[str, Figures] = field(default_factory=dict)
    began_s: float = field(default_factory=time.monotonic)
    section: str = ""

    def __post_init__(self) -> None:
        self.name = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC"
        if self.out is not None and self.out.exists():
            self.sections = json.loads(self.out.read_text("utf-8"))["sections"]

    @cached_property
    def files(self) -> Files:
        s = self.setting
        return prepare(
            self.scratch, tiny=s.tiny, device=s.device, dtype=s.dtype, count=s.checkpoints,
            say=self.say,
        )  # fmt: skip

    @cached_property
    def rates_tflops(self) -> dict[int, float]:
        """Matrix rates that this device reached in this run: never those of an earlier call."""
        from bench.sdxl.peak import matmul_rates

        return matmul_rates(self.setting)

    @property
    def peak_tflops(self) -> float:
        return max(self.rates_tflops.values())

    @cached_property
    def tflop(self) -> dict[str, float]:
        """Work of each part, counted; `image` is one text-to-image picture."""
        from bench.sdxl.peak import counted

        return counted(prepare_config(self.scratch, tiny=self.setting.tiny), self.setting)

    def start(self, section: str) -> None:
        """Begin a section. Rows of an earlier call stay until they are measured again, if they are of
        the same machine and pictures; each row says which call it is of.
        """
        self.section = section
        new = {"machine": machine(self.setting), "setting": asdict(self.setting), "rows": {}}
        old = self.sections.get(section)
        if old is not None and _same(old, new):
            new["rows"] = old["rows"]
        self.sections[section] = new

    def row(self, name: str, measure: Callable[[], Figures]) -> Figures:
        """Measure one row. It fails alone: what it raises is its figure, and the next one runs."""
        if time.monotonic() - self.began_s > self.budget_s:
            figures: Figures = {"skipped": "no time left (--budget-s)"}
        else:
            try:
                figures = measure()
            except Exception as error:
                figures = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
            with suppress(RuntimeError):  # a broken CUDA context must not lose what was measured
                emptied()
        rows = self.sections[self.section]["rows"]
        if "skipped" not in figures or name not in rows:
            rows[name] = {"run": self.name, **figures}
        self.save()
        self.say(f"  {self.section} · {name}: {_short(figures)}")
        return figures

    def save(self) -> None:
        if self.out is not None:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            draft = self.out.with_suffix(".part")
            draft.write_text(json.dumps({"sections": self.sections}, indent=1), "utf-8")
            draft.replace(self.out)


def _same(old: Figures, new: Figures) -> bool:
    names = ("tiny", "device", "dtype", "size_px", "steps", "guidance")
    return old["machine"]["gpu"] == new["machine"]["gpu"] and all(
        old["setting"][name] == new["setting"][name] for name in names
    )


def _short(figures: Figures) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def machine(setting: Setting) -> Figures:
    import diffusers

    cores = psutil.cpu_count() or 0
    ram_gb = round(psutil.virtual_memory().total / 1e9)
    name = torch.cuda.get_device_name() if setting.cuda else "no GPU"
    return {
        "gpu": name, "cores": cores, "ram_gb": ram_gb, "system": platform.platform(),
        "python": platform.python_version(), "torch": torch.__version__,
        "diffusers": diffusers.__version__, "threads": torch.get_num_threads(),
    }  # fmt: skip


def sync(setting: Setting) -> None:
    if setting.cuda:
        torch.cuda.synchronize()


def memory(setting: Setting) -> dict[str, float]:
    """Return what this process holds now, in GB (1e9 bytes)."""
    held = {"rss_gb": round(psutil.Process().memory_info().rss / 1e9, 3)}
    if setting.cuda:
        held["allocated_gb"] = round(torch.cuda.memory_allocated() / 1e9, 4)
        held["reserved_gb"] = round(torch.cuda.memory_reserved() / 1e9, 4)
    return held
