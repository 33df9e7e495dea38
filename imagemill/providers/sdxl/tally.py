"""What an engine counts: loads, swaps, calls, memory. Read by anybody, written by its threads."""

from collections import Counter, defaultdict
from threading import Lock
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class EngineReport(BaseModel):
    """What an engine did since it started.

    Attributes:
        device: Name of the GPU, or "cpu".
        resident: Checkpoints in GPU memory now.
        images: Drawn; `padding` is how many places of buckets were drawn for nothing.
        calls: Of the UNet pipeline, each for one bucket.
        loads: By checkpoint, how often its file was read.
        swaps: Changes of checkpoint in place; `releases` those that freed memory first.
        leaks: Modules that something still held after their release.
        out_of_memory: Calls that were taken back to a smaller bucket.
        waiting: Images that wait now.
        step, steps: Where the call under way is; 0 of 0 when the GPU is idle.
        seconds: By node, and for `load`, `swap`, `control`: wall time added up.
        vram_gb: In use by tensors now; 0 on the CPU. `vram_peak_gb` is the most there was.
        vram_total_gb: Of the card.
    """

    model_config = ConfigDict(frozen=True)

    device: str = "cpu"
    resident: tuple[str, ...] = ()
    images: int = 0
    padding: int = 0
    calls: int = 0
    loads: dict[str, int] = Field(default_factory=dict)
    swaps: int = 0
    releases: int = 0
    leaks: int = 0
    out_of_memory: int = 0
    waiting: int = 0
    step: int = 0
    steps: int = 0
    seconds: dict[str, float] = Field(default_factory=dict)
    vram_gb: float = 0.0
    vram_peak_gb: float = 0.0
    vram_total_gb: float = 0.0


class Tally:
    """The counters behind `EngineReport`. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._loads: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._step = (0, 0)

    def loaded(self, name: str, *, seconds: float) -> None:
        """A checkpoint was read from its file."""
        with self._lock:
            self._loads[name] += 1
            self._seconds["load"] += seconds

    def swapped(self, *, seconds: float) -> None:
        """A checkpoint took another's place."""
        with self._lock:
            self._counts["swaps"] += 1
            self._seconds["swap"] += seconds

    def control_loaded(self, *, seconds: float) -> None:
        """A ControlNet was read."""
        self.took("control", seconds)

    def released(self, *, leaked: int) -> None:
        """A checkpoint was dropped; `leaked` of its modules are still held."""
        with self._lock:
            self._counts["releases"] += 1
            self._counts["leaks"] += leaked

    def drawn(self, *, images: int, bucket: int) -> None:
        """A call came back."""
        with self._lock:
            self._counts["calls"] += 1
            self._counts["images"] += images
            self._counts["padding"] += bucket - images

    def ran_out(self) -> None:
        """A call did not fit into memory."""
        with self._lock:
            self._counts["out_of_memory"] += 1

    def took(self, what: str, seconds: float) -> None:
        """Add to the time of a node."""
        with self._lock:
            self._seconds[what] += seconds

    def stepped(self, step: int, steps: int) -> None:
        """The call under way did a step; 0 of 0 is idle."""
        self._step = (step, steps)

    def report(self, **now: Any) -> EngineReport:  # noqa: ANN401 - fields of the report
        """Return the counters with what only the engine knows."""
        with self._lock:
            step, steps = self._step
            return EngineReport(
                **self._counts, **now, loads=dict(self._loads), step=step, steps=steps,
                seconds={name: round(took, 3) for name, took in self._seconds.items()},
            )  # fmt: skip
