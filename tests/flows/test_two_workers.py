"""Two GPU workers, as `imagemill up --gpu` starts them, on the tiny model and the CPU."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

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


def test_two_workers_share_thirty_images_and_one_outlives_the_other(mill, pool, words, tmp_path):
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

        victim = threading.Thread(target=kill_at_work, args=(mill, first), daemon=True)
        victim.start()
        again = spread(pool, mixed(words))
        victim.join(timeout=1)
    assert not first.is_running()
    assert again["success_count"] == 30
    assert len({image["sha256"] for image in again["results"]}) == 30
    twice = "SELECT key FROM charges WHERE kind = 'image' GROUP BY key HAVING count(*) > 1"
    assert mill.rows(twice) == []
    told = "".join(log.read_text() for log in logs)
    assert not [row for row in rows if row["prompt"] in told]


def kill_at_work(mill, process, images=33):
    """Kill the worker as soon as the second batch has images."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if mill.rows("SELECT count(*) AS n FROM charges WHERE kind = 'image'")[0].n >= images:
            killed(process)
            return
        time.sleep(0.05)
