"""`imagemill up --gpu` for real, on the CPU and the tiny model: pool, worker, run, warm lane, down."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from apps.services.processes import find, strays
from apps.services.records import gpu_worker, load_records
from bench.tiny_models import tiny_models

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.seaweed,
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("services"),
]
PROJECT = Path(__file__).resolve().parents[2]
WORKER = gpu_worker(0)


@dataclass
class Machine:
    """A fresh home on a machine without nvidia-smi, and the commands somebody types there."""

    home: Path
    environment: dict[str, str]

    def types(self, *words: str, failing: bool = False, **more: str) -> str:
        """Run a command of imagemill; returns what it wrote."""
        done = subprocess.run(
            [sys.executable, "-c", "from apps.door import main; main()", *words], cwd=PROJECT, capture_output=True,
            text=True, env={**self.environment, **more}, timeout=280, check=False,
        )  # fmt: skip
        assert (done.returncode != 0) == failing, done.stdout + done.stderr
        return done.stdout + done.stderr

    def states(self) -> dict[str, str]:
        return {row["name"]: row["state"] for row in json.loads(self.types("status", "--json"))}

    @property
    def prefect_url(self) -> str:
        return load_records(self.home)["prefect"].url

    def ask(self, method: str, path: str, **more: Any) -> Any:
        answer = httpx.request(method, f"{self.prefect_url}{path}", timeout=30, **more)
        return answer.raise_for_status().json()

    def process(self) -> psutil.Process:
        """Return the GPU worker's process."""
        process = find(load_records(self.home)[WORKER].identity)
        assert process is not None
        return process


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Everything is up: first without a GPU, then asked for one."""
    home = tmp_path_factory.mktemp("gpu") / "home"
    models = tiny_models(tmp_path_factory.mktemp("models"))
    tools = tmp_path_factory.mktemp("bin")
    (tools / "sh").symlink_to("/bin/sh")
    kept = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    machine = Machine(home, {
        **kept, "PATH": str(tools), "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1",
        "COLUMNS": "200", "IMAGEMILL_HOME": str(home), "PREFECT_HOME": str(home / "no-prefect"),
        "IMAGEMILL_SDXL_DEVICE": "cpu", "IMAGEMILL_SDXL_MODELS": str(models),
        "IMAGEMILL_SDXL_CONFIG": str(models / "config"),
    })  # fmt: skip
    try:
        machine.types("up", "--detach", "--any-port")
        yield machine
    finally:
        machine.types("down")


def eventually(told: Callable[[], object], *, within_s: float = 120.0) -> None:
    """Poll until it is so; fail at the deadline."""
    deadline = time.monotonic() + within_s
    while not told():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.1)


def test_plain_up_starts_nothing_for_a_gpu_and_up_gpu_adds_it(machine: Machine) -> None:
    """A worker online in the pool, and the warm lane; what ran goes on. Asked twice changes nothing."""
    assert len(machine.states()) == 4
    refused = machine.types("up", "--detach", "--gpu", failing=True, IMAGEMILL_SDXL_DEVICE="auto")
    assert "nvidia-smi cannot be run" in " ".join(refused.split())
    assert len(machine.states()) == 4
    before = load_records(machine.home)

    said = machine.types("up", "--detach", "--gpu")

    assert "GPU worker 0" in said
    states = machine.states()
    assert list(states)[4:] == [WORKER, "warm_lane"]
    assert set(states.values()) == {"running"}
    after = load_records(machine.home)
    assert {name: after[name] for name in before} == before
    environment = machine.process().environ()
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["IMAGEMILL_SDXL_DEVICE"] == "cpu"
    workers = machine.ask("POST", "/work_pools/gpu/workers/filter", json={})
    assert [(w["status"], w["name"].startswith("imagemill gpu 0 ")) for w in workers] == [
        ("ONLINE", True)
    ]
    assert "Started" not in machine.types("up", "--detach", "--gpu")


def test_a_killed_gpu_worker_is_started_again_and_no_other(machine: Machine) -> None:
    """Its row says which command does it."""
    machine.types("up", "--detach", "--gpu")
    before = load_records(machine.home)
    os.kill(before[WORKER].identity.pid, signal.SIGKILL)
    eventually(lambda: find(before[WORKER].identity) is None)
    assert machine.states()[WORKER] == "stale"
    assert "up --gpu" in machine.types("status")
    machine.types("up", "--detach", "--gpu")
    after = load_records(machine.home)
    changed = [name for name in after if after[name] != before.get(name)]
    assert changed == [WORKER]


def test_a_run_of_the_deployment_is_drawn_by_the_worker(machine: Machine) -> None:
    """By the form's parameters; its process has the worker's own GPU variables."""
    machine.types("up", "--detach", "--gpu")
    block = save_tiny(machine)
    found = machine.ask("GET", "/deployments/name/sdxl/default")
    assert found["work_pool_name"] == "gpu"
    parameters = {"prompts": ["a lighthouse"], "provider": block, "style_name": "Anime"}
    run = machine.ask(
        "POST", f"/deployments/{found['id']}/create_flow_run", json={"parameters": parameters}
    )["id"]
    seen: list[str | None] = []

    def ended() -> bool:
        for child in machine.process().children(recursive=True):
            try:
                environment = child.environ()
            except psutil.Error:
                continue
            if environment.get("PREFECT__FLOW_RUN_ID") == run:
                seen.append(environment.get("CUDA_VISIBLE_DEVICES"))
        return machine.ask("GET", f"/flow_runs/{run}")["state_type"] in {"COMPLETED", "FAILED"}

    eventually(ended, within_s=180)
    told = machine.ask("GET", f"/flow_runs/{run}")
    assert told["state_type"] == "COMPLETED", told["state"]["message"]
    assert set(seen) == {""}


def test_the_warm_lane_draws(machine: Machine) -> None:
    """A single image asked for from another process comes back by its result."""
    machine.types("up", "--detach", "--gpu")
    block = save_tiny(machine)
    code = (
        "import sys; from apps.runs import LocalRuns; runs = LocalRuns({});"
        f"print(runs.warm({{'prompts': ['a heron'], 'provider': {block!r}}})['success_count'])"
    )
    environment = {
        **machine.environment, "PREFECT_API_URL": machine.prefect_url,
        "PREFECT_HOME": str(machine.home / "prefect"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True,
        env=environment, timeout=180, check=False,
    )  # fmt: skip
    assert done.stdout.strip().endswith("1"), done.stderr[-3000:]


def test_doctor_says_what_there_is_for_local_sdxl(machine: Machine) -> None:
    """Libraries, device, models, styles and configs, each with what was found."""
    rows = {row["what"]: row for row in json.loads(machine.types("doctor", "--json"))}
    assert rows["sdxl models"]["found"].startswith("3 checkpoints, VAE sdxl-vae-fp16-fix")
    assert "Anime: animagine-xl-3.1" in rows["sdxl styles"]["found"]
    assert rows["sdxl config"]["level"] == "ok"
    assert rows["gpu"]["found"] == "the CPU, for trying"


def test_down_ends_it_all(machine: Machine) -> None:
    """The GPU's processes too; nothing of this home is left."""
    machine.types("up", "--detach", "--gpu")
    said = " ".join(machine.types("down").split())
    assert "Stopped the GPU worker 0" in said
    assert "Stopped the warm lane" in said
    assert strays(machine.home) == []
    assert set(machine.states().values()) == {"stopped"}


def save_tiny(machine: Machine) -> str:
    """Save the block that makes 1K 64 px for the tiny model; returns the provider's name."""
    import asyncio

    from blocks.local_sdxl import LocalSDXL

    block = LocalSDXL(steps=2, native_px=64, device="cpu", guidance=3)
    with temporary_settings({PREFECT_API_URL: machine.prefect_url}):
        asyncio.run(block.asave("tiny", overwrite=True))
    return "sdxl/tiny"
