"""The warm lane as its users meet it: a task worker of its own that keeps the checkpoint."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.tiny_models import NAMES
from imagemill.errors import ProviderUnavailable, UnsupportedRequest
from tests.flows.sdxl import figures

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def lane(mill, log):
    """Run the warm lane's process, as `imagemill up --gpu` starts it."""
    environment = {**os.environ, **mill.environment, "OMP_NUM_THREADS": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "apps.warm_lane"], cwd=ROOT, env=environment,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        until_seen()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def until_seen(within_s=90):
    """Wait until the server sees a lane: who asks before is told that there is none."""
    from flows.warm import lane_is_seen

    deadline = time.monotonic() + within_s
    while not asyncio.run(lane_is_seen()):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def asked(sdxl, prompt, **fields):
    """Ask the lane for one image and wait for it."""
    from flows.sdxl import asked_batch
    from flows.warm import asked_warm

    return asyncio.run(asked_warm(asked_batch(prompts=[prompt], provider=sdxl, **fields)))


def files_that_hold(prompts, mill, log):
    """Return who kept a prompt, but the ledger, the gallery and the manifest, which are to."""
    kept = [log, *(file for file in mill.home.rglob("*") if file.is_file())]
    meant = {"manifest.json", "gallery.html"}
    return [
        file for file in kept
        if file.name not in meant and "object_store" not in file.parts
        and any(prompt.encode() in file.read_bytes() for prompt in prompts)
    ]  # fmt: skip


def test_a_second_single_image_needs_no_load(mill, sdxl, words, tmp_path):
    """The checkpoint stays between the runs of a lane; what is refused is told; no file keeps a prompt."""
    prompts, log = words(3), tmp_path / "lane.log"
    with pytest.raises(ProviderUnavailable, match="Nobody took") as nobody:
        asked(sdxl, prompts[0])
    assert "up --gpu" in nobody.value.remedy
    with lane(mill, log):
        first = asked(sdxl, prompts[0])
        second = asked(sdxl, prompts[1])
        with pytest.raises(UnsupportedRequest, match="no LoRA 'lace'"):
            asked(sdxl, prompts[2], loras=["lace"])
    assert first.success_count == second.success_count == 1
    for run in (first, second):
        assert figures(mill, run.run_id)["checkpoints read from disk"] == f"{NAMES[0]} 1 x"
    assert second.results[0].facts["checkpoint_s"] < first.results[0].facts["checkpoint_s"]
    assert second.results[0].facts["bucket"] == 1
    assert files_that_hold(prompts, mill, log) == []
