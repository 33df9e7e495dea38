"""Which GPUs there are and who gets which: nvidia-smi's list, narrowed by CUDA_VISIBLE_DEVICES.

torch is not asked: importing it takes seconds and memory on the very GPU that is to be handed out.
"""

import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec

from apps.services.processes import find
from apps.services.records import Name, ServiceRecord, gpu_worker, gpu_worker_number
from apps.services.settings import GpuShell
from blocks.settings import Settings
from imagemill.errors import ServiceError

QUERY = ("nvidia-smi", "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader")
# A driver that was asleep takes some seconds, about one a GPU; one that hangs takes for ever.
TIMEOUT_S = 20.0
ON_THE_CPU = "IMAGEMILL_SDXL_DEVICE=cpu starts a worker that draws on the CPU, slowly, for trying."
_HIDDEN = {"", "-1", "none", "void", "nodevfiles"}


@dataclass(frozen=True, slots=True)
class Gpu:
    """What one worker draws on.

    Attributes:
        number: nvidia-smi's; 0 for the CPU.
        visible: What its processes have as CUDA_VISIBLE_DEVICES; "" is no GPU at all.
        name: For people, with its memory: "NVIDIA L4, 22.5 GiB".
    """

    number: int
    visible: str
    name: str

    def environment(self) -> dict[str, str]:
        """Return the variables of a process that draws on it, and on nothing else."""
        device = "auto" if self.visible else "cpu"
        return {"CUDA_VISIBLE_DEVICES": self.visible, "IMAGEMILL_SDXL_DEVICE": device}

    def extras(self) -> dict[str, str]:
        """Return what the record of such a process keeps."""
        return {"gpu": self.visible, "gpu_number": str(self.number), "gpu_name": self.name}


CPU = Gpu(0, "", "CPU")


@dataclass(frozen=True, slots=True)
class GpuPlan:
    """Who works on which GPU.

    Attributes:
        workers: One worker of the pool `gpu` on each.
        lane: Where the warm lane draws; it may share the GPU of a worker. None: no warm lane.
    """

    workers: tuple[Gpu, ...] = ()
    lane: Gpu | None = None

    def by_name(self) -> dict[Name, Gpu]:
        """Return the services of this plan, each with its GPU."""
        found: dict[Name, Gpu] = {gpu_worker(gpu.number): gpu for gpu in self.workers}
        return found | ({"warm_lane": self.lane} if self.lane else {})

    def joined(self, other: "GpuPlan") -> "GpuPlan":
        """Return both plans as one; where they differ this one holds."""
        mine = {gpu.number for gpu in self.workers}
        more = tuple(gpu for gpu in other.workers if gpu.number not in mine)
        return GpuPlan((*self.workers, *more), self.lane or other.lane)

    def fits(self, record: ServiceRecord) -> bool:
        """Whether a recorded service draws where this plan wants it, if it says anything of it."""
        wanted = self.by_name().get(record.name)
        return wanted is None or record.extras.get("gpu") == wanted.visible


def running_plan(records: Mapping[Name, ServiceRecord]) -> GpuPlan:
    """Return what runs now according to the records."""
    workers: list[Gpu] = []
    lane: Gpu | None = None
    for name, record in records.items():
        if "gpu" not in record.extras or find(record.identity) is None:
            continue
        extras = record.extras
        gpu = Gpu(int(extras["gpu_number"]), extras["gpu"], extras["gpu_name"])
        if gpu_worker_number(name) is not None:
            workers.append(gpu)
        else:
            lane = gpu
    return GpuPlan(tuple(workers), lane)


def plan_gpus(settings: Settings, *, warm_lane: str = "") -> GpuPlan:
    """Return a worker for every GPU this process may use, and the warm lane.

    Args:
        settings: `sdxl_device` may choose the CPU, or one GPU of several (`cuda:1`).
        warm_lane: Number of a GPU that is the lane's alone, or "none"; "" shares the first.

    Raises:
        ServiceError: torch is not installed, no GPU is found, or the lane's is none of them.
    """
    if not libraries_installed():
        raise ServiceError(
            "Local SDXL needs torch and diffusers, which are not installed.",
            remedy="Run `make setup-gpu` (a few GB), then again.",
        )
    gpus = visible_gpus(settings.sdxl_device)
    if warm_lane == "none":
        return GpuPlan(gpus)
    if not warm_lane:
        return GpuPlan(gpus, gpus[0])
    own = next((gpu for gpu in gpus if str(gpu.number) == warm_lane), None)
    rest = tuple(gpu for gpu in gpus if gpu != own)
    if own is None or not rest:
        known = ", ".join(str(gpu.number) for gpu in gpus)
        raise ServiceError(
            f"The warm lane cannot have GPU {warm_lane} to itself; there is {known}.",
            remedy="Name one of several GPUs, `none`, or leave --warm-lane out to share the first.",
        )
    return GpuPlan(rest, own)


def libraries_installed() -> bool:
    """Whether `make setup-gpu` was run; nothing is imported."""
    return find_spec("torch") is not None and find_spec("diffusers") is not None


def visible_gpus(device: str) -> tuple[Gpu, ...]:
    """Return the GPUs this process may use, in the order CUDA_VISIBLE_DEVICES gives them.

    Args:
        device: IMAGEMILL_SDXL_DEVICE: "cpu" asks nobody; "cuda:1" is the second of them alone.

    Raises:
        ServiceError: There is none, a listed one is not there, or nvidia-smi does not answer.
    """
    if device == "cpu":
        return (CPU,)
    gpus = _listed(_nvidia_smi(), GpuShell().visible_devices)
    if not (chosen := re.fullmatch(r"cuda:(\d+)", device)):
        return gpus
    if int(chosen[1]) >= len(gpus):
        raise ServiceError(
            f"IMAGEMILL_SDXL_DEVICE is {device}, and {len(gpus)} GPUs are visible, from cuda:0.",
            remedy="Set it to auto: each worker gets a GPU of its own.",
        )
    return (gpus[int(chosen[1])],)


def _listed(found: tuple[Gpu, ...], listed: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names by number, UUID or its beginning.

    Numbers are nvidia-smi's (CUDA_DEVICE_ORDER=PCI_BUS_ID); all is passed on as UUIDs, which have no
    order.
    """
    if listed is None:
        return found
    words = list(dict.fromkeys(word.strip() for word in listed.split(",")))
    if words[0].lower() in _HIDDEN:
        raise ServiceError(
            f"CUDA_VISIBLE_DEVICES={listed!r} hides every GPU.",
            remedy=f"Unset it, or: {ON_THE_CPU}",
        )
    chosen: list[Gpu] = []
    for word in words:
        # A slice of a GPU is not in the list; whoever names one knows it.
        slices = [Gpu(len(found) + len(chosen), word, "GPU slice")] if "MIG-" in word else []
        named = [gpu for gpu in found if word == str(gpu.number) or _begins(gpu.visible, word)]
        if len(matches := slices or named) != 1:
            known = "; ".join(f"{gpu.number}: {gpu.visible}" for gpu in found)
            raise ServiceError(
                f"CUDA_VISIBLE_DEVICES names {word!r}, and nvidia-smi shows {known}.",
                remedy="Correct it: numbers or UUIDs, separated by commas.",
            )
        chosen += [gpu for gpu in matches if gpu not in chosen]
    return tuple(chosen)


def _begins(uuid: str, word: str) -> bool:
    return word.startswith("GPU-") and uuid.startswith(word)


def _nvidia_smi() -> tuple[Gpu, ...]:
    try:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            QUERY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise _no_gpu(f"nvidia-smi cannot be run ({error.strerror})") from error
    try:
        out, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # one that hangs in the driver does not even die
            process.wait(timeout=1)
        raise _no_gpu(f"nvidia-smi did not answer within {TIMEOUT_S:.0f} s") from error
    gpus = tuple(gpu for line in out.splitlines() if (gpu := _read(line)))
    if process.returncode != 0 or not gpus:
        said = out.strip().splitlines()[:1] or ["nothing"]
        raise _no_gpu(f"nvidia-smi says: {said[0][:200]}")
    return gpus


def _read(line: str) -> Gpu | None:
    """Read "0, GPU-8f1c…, NVIDIA L4, 23034 MiB"; memory is "[N/A]" where a GPU shares the host's."""
    number, _, rest = line.partition(",")
    uuid, _, rest = rest.partition(",")
    name, _, memory = rest.rpartition(",")
    if not (number.strip().isdecimal() and uuid.strip().startswith("GPU-")):
        return None
    mib = re.fullmatch(r"\s*(\d+) MiB\s*", memory)
    size = f", {int(mib[1]) / 1024:.1f} GiB" if mib else ""
    return Gpu(int(number), uuid.strip(), f"{name.strip()}{size}")


def _no_gpu(why: str) -> ServiceError:
    return ServiceError(
        f"No GPU was found: {why}.",
        remedy=f"Install NVIDIA's driver until nvidia-smi lists the GPU. {ON_THE_CPU}",
    )
