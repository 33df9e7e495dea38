"""Two GPU workers, as `imagemill up --gpu` starts them, on the tiny model and the CPU."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from bench.tiny_models import NAMES
from tests.flows.sdxl import figures, mixed

pytestmark = pytest.mark.timeout(400)
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def worker(mill, number, log):
    """Run a worker of the pool; whatever is left of it is killed in the end."""
    environment = {
        **os.environ, **mill.environment, "OMP_NUM_THREADS": "1", "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1", "CUDA_VISIBLE_DEVICES": str(number),
    }  # fmt: skip
    command = ["-m", "prefect", "worker", "start", "--pool", "gpu", "--type", "process"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, *command, "--limit", "1", "--name", f"gpu {number}"],
            cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield psutil.Process(process.pid)
    finally:
        killed(psutil.Process(process.pid))
        process.wait()


def killed(process):
    """Kill a worker and the runs in its hands, as a machine that loses its power does."""
    with suppress(psutil.NoSuchProcess):
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                each.kill()


@pytest.fixture
def pool(mill, sdxl):
    """Put the share's deployment up, as prefect.yaml does."""
    from flows.share import draw_queued

    source = draw_queued.from_source(source=str(ROOT), entrypoint="flows/share.py:draw_queued")
    source.deploy(name="gpu", work_pool_name="gpu", build=False, push=False, print_next_steps=False)
    return sdxl


def spread(pool, prompts, **fields):
    """Run the parent in this process."""
    from flows.spread import spread_by_sdxl

    return asyncio.run(spread_by_sdxl(prompts=prompts, provider=pool, workers=2, **fields))


def shares(mill, run):
    """Return the ids of the runs that shares were, newest last, without the parent's."""
    rows = mill.rows("SELECT id FROM runs WHERE id != :run ORDER BY created_at", run=run)
    return [row.id for row in rows]


def test_two_workers_share_thirty_images_and_one_outlives_the_other(
    mill, pool, words, tmp_path, monkeypatch, models
):
    """Each loads a checkpoint at most once; the one that is left finishes what the other began."""
    with ExitStack() as running:
        logs = [tmp_path / f"worker-{number}.log" for number in range(2)]
        first, _ = [
            running.enter_context(worker(mill, number, log)) for number, log in enumerate(logs)
        ]
        rows = mixed(words)
        result = spread(pool, rows, output_dir=str(tmp_path / "out"))
        assert result["success_count"] == 30, [log.read_text()[-2000:] for log in logs]
        loads = [
            figures(mill, share)["checkpoints read from disk"]
            for share in shares(mill, result["run_id"])
        ]
        assert len(loads) == 2
        assert all(load.endswith(" 1 x") for told in loads for load in told.split(", "))
        assert sum(len(told.split(", ")) for told in loads) == len(NAMES) + 1  # one cut, one more
        assert len(list((tmp_path / "out").glob("00*.png"))) == 30

        # What only the workers refuse, because their machine allows less, is told at every image.
        monkeypatch.setenv("IMAGEMILL_REFERENCE_ROOTS", str(models))
        refused = spread(pool, words(1), reference_image=str(models / "reference.png"))
        assert "not in a folder that may be read" in refused["results"][0]["error"]

        struck = threading.Event()
        threading.Thread(target=kill_at_work, args=(mill, first, struck), daemon=True).start()
        again = spread(pool, mixed(words))
        assert struck.is_set()
    assert starts_of_shares(mill, again["run_id"]) > 2  # what died was begun again elsewhere
    assert again["success_count"] == 30
    assert len({image["sha256"] for image in again["results"]}) == 30
    paid = [row.key for row in mill.rows("SELECT key FROM reservations WHERE state = 'charged'")]
    assert len(paid) == len(set(paid)) == 60
    told = "".join(log.read_text() for log in logs)
    assert not [row for row in rows if row["prompt"] in told]


def starts_of_shares(mill, run_id):
    """Count the flow runs that shares of a batch were started as."""
    asked = {"flow_runs": {"name": {"like_": f"-of-{run_id[:8]}"}}}
    answer = httpx.post(f"{mill.services.prefect_url}/flow_runs/filter", json=asked)
    return len(answer.raise_for_status().json())


def kill_at_work(mill, process, struck):
    """Kill the worker as soon as a run in its own hands has drawn an image of the last batch."""
    query = (
        "SELECT holder FROM runs WHERE state = 'running' AND id IN (SELECT run_id FROM run_items)"
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        mine = {str(child.pid) for child in process.children(recursive=True)}
        holders = [row.holder for row in mill.rows(query)]
        if any(mine & set(re.split(r"\D+", holder)) for holder in holders):
            killed(process)
            struck.set()
            return
        time.sleep(0.05)
