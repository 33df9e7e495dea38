"""Killed, interrupted, started again: nothing is paid twice, nothing is lost, what is unclear is listed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from blocks.store import forget_stores
from imagemill.workshop import DESK_SPARE

PROJECT = Path(__file__).resolve().parents[2]
IMAGES, AT_ONCE = 60, 6


class Command(subprocess.Popen):
    """A command in a process of its own. What it says goes to files: a full pipe would stop it."""

    def __init__(self, arguments: list[str], folder: Path, **more) -> None:
        folder.mkdir()
        self.out, self.err = folder / "out", folder / "err"
        with self.out.open("w") as out, self.err.open("w") as err:
            super().__init__(arguments, stdout=out, stderr=err, **more)

    def said(self) -> tuple[str, str]:
        """Wait for its end; return standard output and standard error."""
        self.wait(timeout=120)
        return self.out.read_text("utf-8"), self.err.read_text("utf-8")

    def until(self, told: Callable[[], object], *, within_s: float = 60.0) -> None:
        """Poll until it is so; fail with its words at the deadline or when it has ended."""
        deadline = time.monotonic() + within_s
        while not told():
            late = time.monotonic() > deadline or self.poll() is not None
            assert not late, self.err.read_text("utf-8")
            time.sleep(0.02)


@pytest.fixture
def command(mill, tmp_path):
    """Start `imagemill batch` in a process of its own; it is killed if the test leaves it."""
    started = []

    def start(prompts, *options) -> Command:
        file = tmp_path / "prompts.txt"
        file.write_text("\n".join(prompts))
        arguments = ["batch", "-f", str(file), "--json", "-c", str(AT_ONCE), *options]
        process = Command(
            [sys.executable, "-c", "from apps.cli import main; main()", *arguments],
            tmp_path / f"command-{len(started)}",
            cwd=PROJECT,
            env={**os.environ, **mill.environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def result_of(process: Command) -> dict:
    out, err = process.said()
    assert process.returncode in {0, 3}, err
    return json.loads(out)


def objects_below(mill, prefix: str) -> list[str]:
    """List the images in the bucket below a prefix."""
    import boto3

    from blocks.settings import local_secrets

    own = local_secrets(mill.home)
    client = boto3.client(
        "s3", endpoint_url=mill.services.object_store_url, region_name="us-east-1",
        aws_access_key_id=own["s3_access_key_id"],
        aws_secret_access_key=own["s3_secret_access_key"],
    )  # fmt: skip
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=mill.services.bucket, Prefix=prefix
    )
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return [key for key in keys if f"{prefix}/runs/" not in key and key.endswith(".png")]


def count(mill, state: str) -> int:
    query = "SELECT count(*) FROM reservations WHERE state = :state"
    return mill.rows(query, state=state)[0][0]


@pytest.mark.timeout(300)
def test_killed_in_the_middle_and_started_again_nothing_is_paid_twice(
    mill, words, command, monkeypatch
):
    """60 images, SIGKILL, again: at most 60 + in flight are served; each is delivered or listed.

    In flight is what was sent and whose answer was not yet on disk: on the wire or just come in.
    """
    prefix = f"kill-{os.getpid()}"
    mill.environment["IMAGEMILL_S3_PREFIX"] = prefix
    mill.fake.script(latency_s=0.3)
    prompts = words(IMAGES)
    process = command(prompts)
    process.until(lambda: mill.fake.stats.images_served >= 20)
    process.kill()
    process.wait()
    in_flight = count(mill, "open")
    assert 0 < in_flight <= 2 * AT_ONCE + DESK_SPARE
    result = result_of(command(prompts))
    unclear = checked(mill, prompts, result, in_flight=in_flight)

    monkeypatch.setenv("IMAGEMILL_S3_PREFIX", prefix)
    forget_stores()
    finished = mill.run(prompts, max_concurrent=AT_ONCE, resend_ambiguous=True)
    assert finished["success_count"] == IMAGES
    assert mill.fake.stats.images_served <= IMAGES + in_flight
    assert finished["reused_count"] == IMAGES - unclear
    digests = {entry["sha256"] for entry in finished["results"]}
    stored = objects_below(mill, prefix)
    assert {Path(key).stem for key in stored} == digests
    assert len(stored) == len(digests) == IMAGES


def checked(mill, prompts, result, *, in_flight: int) -> int:
    """Hold the second run to the promise; returns how many images are listed as ambiguous."""
    stats = mill.fake.stats
    assert stats.images_served <= IMAGES
    assert [entry["prompt"] for entry in result["results"]] == prompts
    unclear = [entry for entry in result["results"] if not entry["success"]]
    assert len(unclear) <= in_flight
    for entry in unclear:
        assert entry["status"] == "ambiguous"
        assert Decimal(entry["cost_usd"]) > 0
    assert result["reused_count"] >= 20 - in_flight
    # What the ledger charged is what the server billed, but for those listed.
    assert (count(mill, "open"), count(mill, "ambiguous")) == (0, len(unclear))
    assert stats.images_billed - len(unclear) <= count(mill, "charged") <= stats.images_billed
    return len(unclear)


def stopped(mill, words, command, *, times: int):
    """Press Ctrl-C so many times in the middle of a batch; return prompts and both outputs."""
    mill.fake.script(latency_s=0.5)
    mill.environment["PREFECT_LOGGING_LEVEL"] = "DEBUG"
    prompts = words(24)
    process = command(prompts)
    process.until(lambda: mill.fake.stats.images_served >= 8)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)  # a signal that comes before the first is handled is the same one
    out, err = process.said()
    assert process.returncode == 130, err
    assert "same command again" in " ".join(err.split())
    assert "Traceback" not in err
    assert prompts[0] not in err
    assert count(mill, "open") == 0
    assert mill.rows("SELECT state FROM runs") == [("cancelled",)]
    return prompts, out, " ".join(err.split())


@pytest.mark.timeout(300)
def test_ctrl_c_lets_what_is_on_the_wire_come_in(mill, words, command):
    """Nothing paid is torn off: no image is ambiguous, the rest is free, the same command goes on."""
    prompts, out, _ = stopped(mill, words, command, times=1)
    first = json.loads(out)
    assert count(mill, "ambiguous") == 0
    paid = count(mill, "charged")
    assert first["success_count"] == paid == mill.fake.stats.images_billed < 24
    again = result_of(command(prompts))
    assert (again["reused_count"], again["success_count"]) == (paid, 24)
    assert mill.fake.stats.images_billed == 24


@pytest.mark.timeout(300)
def test_sigterm_lets_what_is_on_the_wire_come_in(mill, words, command):
    """What a worker sends when a run is cancelled in the UI: nothing is torn off, nothing open."""
    mill.fake.script(latency_s=0.5)
    prompts = words(24)
    process = command(prompts)
    process.until(lambda: mill.fake.stats.images_served >= 8)
    process.send_signal(signal.SIGTERM)
    out, err = process.said()
    assert process.returncode == 130, err
    assert (count(mill, "open"), count(mill, "ambiguous")) == (0, 0)
    assert json.loads(out)["success_count"] == mill.fake.stats.images_billed < 24
    assert mill.rows("SELECT state FROM runs") == [("cancelled",)]


@pytest.mark.timeout(300)
def test_a_second_ctrl_c_aborts_and_says_what_is_unclear(mill, words, command):
    """Torn off on the wire is ambiguous and listed; nothing is left open or sent again."""
    prompts, _, err = stopped(mill, words, command, times=2)
    paid, unclear = count(mill, "charged"), count(mill, "ambiguous")
    if unclear:  # as a rule: a second Ctrl-C may come when all answers are there
        assert f"{unclear} image" in err
        held = mill.rows("SELECT sum(reserved_usd) FROM reservations WHERE state = 'ambiguous'")
        assert f"in doubt, ${Decimal(held[0][0]) / 10**9} counted as spent" in err
        assert "imagemill reconcile" in err
    assert unclear <= 2 * AT_ONCE + DESK_SPARE
    again = result_of(command(prompts))
    assert (again["reused_count"], again["ambiguous_count"]) == (paid, unclear)
    assert again["success_count"] == 24 - unclear
