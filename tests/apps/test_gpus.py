"""Which GPUs are handed to workers: a fake nvidia-smi first on PATH says what there is."""

import os
import stat
import sys
import time
from dataclasses import replace

import pytest

from apps.services import gpus
from apps.services.ensure import ensure
from apps.services.gpus import CPU, Gpu, GpuPlan, plan_gpus, running_plan, visible_gpus
from apps.services.launching import Recipe, Start, launch
from apps.services.lifecycle import down, status
from apps.services.processes import Identity, find, stop
from apps.services.records import (
    ServiceRecord,
    gpu_worker,
    in_order,
    label,
    load_records,
    save_record,
)
from apps.services.supervisor import Watch
from blocks.settings import Settings
from imagemill.errors import ServiceError

UUIDS = [f"GPU-{digit * 8}-0000-0000-0000-000000000000" for digit in "abcd"]


def line(number: int, memory: str = "23034 MiB") -> str:
    return f"{number}, {UUIDS[number]}, NVIDIA L4, {memory}"


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Put a program of that name first on PATH; called with the lines of its shell script."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "find_spec", lambda _name: object())
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def says(*lines: str) -> None:
        program = folder / "nvidia-smi"
        program.write_text("\n".join(["#!/bin/sh", *lines]))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    return says


@pytest.fixture
def four(nvidia_smi):
    nvidia_smi(*(f"echo '{line(number)}'" for number in range(4)))


@pytest.mark.parametrize("count", [1, 4])
def test_every_gpu_gets_a_worker_and_the_first_the_warm_lane(nvidia_smi, count):
    """Each by its UUID, which means the same GPU to every program, with a name for people."""
    nvidia_smi(*(f"echo '{line(number)}'" for number in range(count)))
    plan = plan_gpus(Settings())
    assert [gpu.visible for gpu in plan.workers] == UUIDS[:count]
    assert [gpu.number for gpu in plan.workers] == list(range(count))
    assert plan.workers[0].name == "NVIDIA L4, 22.5 GiB"
    assert plan.lane == plan.workers[0]
    assert list(plan.by_name()) == [*map(gpu_worker, range(count)), "warm_lane"]


def test_memory_that_the_driver_does_not_tell_is_left_out(nvidia_smi):
    """GPUs that share the host's memory say [N/A]."""
    nvidia_smi(f"echo '{line(0, '[N/A]')}'")
    assert visible_gpus("auto")[0].name == "NVIDIA L4"


@pytest.mark.parametrize(
    ("listed", "wanted"),
    [
        ("2", [2]), ("3,1", [3, 1]), (" 0 , 0", [0]), (UUIDS[2], [2]),
        ("GPU-b,GPU-a", [1, 0]), (f"0,{UUIDS[0]}", [0]),
    ],
)  # fmt: skip
def test_only_what_cuda_visible_devices_names_is_used(four, monkeypatch, listed, wanted):
    """By number, UUID or its beginning, in its order, each once."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert [gpu.number for gpu in visible_gpus("auto")] == wanted


def test_a_slice_of_a_gpu_is_passed_on_as_it_is(four, monkeypatch):
    """nvidia-smi's list has no MIG slices; whoever names one knows it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1,MIG-2")
    found = visible_gpus("auto")
    assert [gpu.visible for gpu in found] == ["MIG-1", "MIG-2"]
    assert len({gpu.number for gpu in found} | {0, 1, 2, 3}) == 6


@pytest.mark.parametrize("listed", ["7", "0,x", "GPU-", "cuda:0"])
def test_a_gpu_that_is_not_there_is_named(four, monkeypatch, listed):
    """CUDA itself would leave out the rest without a word."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    with pytest.raises(ServiceError, match="nvidia-smi shows 0: GPU-aaaaaaaa") as refused:
        visible_gpus("auto")
    assert refused.value.remedy


@pytest.mark.parametrize("listed", ["", "-1", " "])
def test_hidden_gpus_are_said_to_be_hidden(four, monkeypatch, listed):
    """An empty list is not "no list"."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    with pytest.raises(ServiceError, match="hides every GPU"):
        visible_gpus("auto")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'No devices were found'; exit 6", "No devices were found"),
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "mismatch"),
        ("exit 0", "nothing"),
        ("echo 'some banner of a newer driver'", "some banner"),
    ],
)
def test_without_a_gpu_it_says_why_and_what_to_do(nvidia_smi, script, said):
    """What nvidia-smi said, and the setting that draws on the CPU."""
    nvidia_smi(script)
    with pytest.raises(ServiceError, match=f"No GPU was found.*{said}") as refused:
        plan_gpus(Settings())
    assert "IMAGEMILL_SDXL_DEVICE=cpu" in refused.value.remedy


def test_without_nvidia_smi_it_says_so(nvidia_smi):
    """No driver at all: the same remedy."""
    with pytest.raises(ServiceError, match="nvidia-smi cannot be run") as refused:
        plan_gpus(Settings())
    assert "IMAGEMILL_SDXL_DEVICE=cpu" in refused.value.remedy


def test_a_driver_that_hangs_is_not_waited_for(nvidia_smi, monkeypatch):
    """`up` answers, whatever the driver does."""
    nvidia_smi("exec sleep 60")
    monkeypatch.setattr(gpus, "TIMEOUT_S", 0.3)
    began = time.monotonic()
    with pytest.raises(ServiceError, match="did not answer"):
        visible_gpus("auto")
    assert time.monotonic() - began < 10


def test_the_cpu_needs_no_nvidia_smi(nvidia_smi):
    """One worker that sees no GPU at all, and draws on the CPU."""
    plan = plan_gpus(Settings(sdxl_device="cpu"))
    assert plan == GpuPlan((CPU,), CPU)
    assert CPU.environment() == {"CUDA_VISIBLE_DEVICES": "", "IMAGEMILL_SDXL_DEVICE": "cpu"}


def test_a_worker_sees_its_gpu_alone(four, monkeypatch):
    """IMAGEMILL_SDXL_DEVICE=cuda:1 chooses the second; to its worker that one is the first."""
    [gpu] = visible_gpus("cuda:1")
    assert gpu.environment() == {
        "CUDA_VISIBLE_DEVICES": UUIDS[1], "IMAGEMILL_SDXL_DEVICE": "auto",
    }  # fmt: skip
    with pytest.raises(ServiceError, match="4 GPUs are visible"):
        visible_gpus("cuda:4")


def test_the_warm_lane_may_have_a_gpu_of_its_own_or_none(four, monkeypatch):
    """Then no worker is on it; asking for one that is not there, or the only one, is refused."""
    own = plan_gpus(Settings(), warm_lane="2")
    assert ([gpu.number for gpu in own.workers], own.lane.number) == ([0, 1, 3], 2)
    assert plan_gpus(Settings(), warm_lane="none").lane is None
    for asked in ("9", "first"):
        with pytest.raises(ServiceError, match=f"cannot have GPU {asked} to itself"):
            plan_gpus(Settings(), warm_lane=asked)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(ServiceError, match="there is 1"):
        plan_gpus(Settings(), warm_lane="1")


def test_without_torch_the_setup_is_named(four, monkeypatch):
    """Before anything is started."""
    monkeypatch.setattr(gpus, "find_spec", lambda _name: None)
    with pytest.raises(ServiceError) as refused:
        plan_gpus(Settings())
    assert "make setup-gpu" in refused.value.remedy


# --- records, status, watch ---------------------------------------------------------------------


@pytest.fixture
def start(tmp_path):
    start = Start(Settings(home=tmp_path / "home"), lambda _line: None, deadline_s=20)
    yield start
    down(start.settings, say=lambda _line: None)


def stand_in(start: Start, gpu: Gpu) -> ServiceRecord:
    """A process that is recorded as this GPU's worker, and sleeps."""
    name = gpu_worker(gpu.number)
    environment = {**start.environment(name), **gpu.environment()}
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    recipe = Recipe(command, environment, start.home, ready=lambda: True, extras=gpu.extras())
    return launch(start, name, recipe)


GPU_0, GPU_11 = Gpu(0, UUIDS[0], "NVIDIA L4"), Gpu(11, UUIDS[1], "NVIDIA L4")


def test_gpu_workers_are_recorded_shown_and_stopped_by_their_numbers(start):
    """A row each once it was asked for; after the fixed ones, in the order of their numbers."""
    assert [row.name for row in status(start.settings)] == [
        "prefect", "object_store", "gateway", "worker",
    ]  # fmt: skip
    records = [stand_in(start, gpu) for gpu in (GPU_11, GPU_0)]
    rows = status(start.settings)[4:]
    assert [(row.name, row.state, row.device) for row in rows] == [
        ("gpu_worker_0", "running", "NVIDIA L4"), ("gpu_worker_11", "running", "NVIDIA L4"),
    ]  # fmt: skip
    stop(records[0].identity)
    assert "imagemill up --gpu" in status(start.settings)[5].note
    assert down(start.settings, say=lambda _line: None) == ["gpu_worker_0"]
    assert load_records(start.home) == {}
    assert find(records[1].identity) is None


def test_names_have_an_order_and_a_label():
    """As they are started: the lane after the workers whose GPU it may share."""
    names = ["warm_lane", gpu_worker(10), "worker", gpu_worker(9), "prefect"]
    ordered = ["prefect", "worker", "gpu_worker_9", "gpu_worker_10", "warm_lane"]
    assert in_order(names) == ordered
    assert [label(name) for name in ordered[-2:]] == ["GPU worker 10", "warm lane"]


def test_a_record_of_an_unknown_name_is_as_good_as_none(start):
    """A later version's services do not stop this one."""
    record = ServiceRecord(gpu_worker(0), "", Identity(1, 0.0), start.log_path("x"))
    for name in ("gpu_worker_", "gpu_worker_x", "gpu_worker_0_1", "tpu_worker_0"):
        save_record(start.home, replace(record, name=name))
    assert load_records(start.home) == {}


def test_a_plan_knows_what_runs_and_who_has_another_gpu(start):
    """What another terminal's `up --gpu` started is joined; what moved to the CPU does not fit."""
    record = stand_in(start, GPU_0)
    running = running_plan(load_records(start.home))
    assert running == GpuPlan((GPU_0,))
    assert GpuPlan((CPU,), CPU).joined(running) == GpuPlan((CPU,), CPU)
    assert GpuPlan((GPU_11,)).joined(running).workers == (GPU_11, GPU_0)
    assert running.fits(record)
    assert GpuPlan().fits(record)
    assert not GpuPlan((CPU,)).fits(record)


def test_the_watch_restarts_gpu_workers_that_die_and_no_others(start, monkeypatch):
    """One that another terminal added is watched too; plain `up` alone asks for none."""
    asked: list[frozenset[str]] = []

    def ensured(start: Start, *, want: frozenset[str], **_more: object) -> None:
        asked.append(want)
        start.cancelled.set()

    monkeypatch.setattr("apps.services.supervisor.ensure", ensured)
    monkeypatch.setattr("apps.services.supervisor.LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("apps.services.supervisor.BACKOFF_S", (0.0,))
    alone = replace(start, cancelled=type(start.cancelled)())
    Watch(alone, "none").until_cancelled()
    assert not any(name.startswith("gpu") for name in asked.pop())

    record = stand_in(start, GPU_0)
    watch = Watch(start, "none")
    watch._dead()
    stop(record.identity)
    assert gpu_worker(0) in [name for name, _ in watch._dead()]
    watch.until_cancelled()
    assert gpu_worker(0) in asked[-1]


def test_a_worker_that_is_to_have_another_gpu_is_replaced(start, monkeypatch):
    """Tried on the CPU first, then with the GPU: the old process goes before the new one starts."""
    old = stand_in(start, CPU)
    monkeypatch.setattr(
        "apps.services.ensure.start_gpu_worker",
        lambda start, _environment, gpu: stand_in(start, gpu),
    )
    moved = replace(start, gpus=GpuPlan((GPU_0,)))
    services = ensure(moved, want={gpu_worker(0)}, preparation="none")
    assert services.started == (gpu_worker(0),)
    assert find(old.identity) is None
    assert load_records(start.home)[gpu_worker(0)].extras["gpu"] == UUIDS[0]
    assert ensure(moved, want={gpu_worker(0)}, preparation="none").started == ()
