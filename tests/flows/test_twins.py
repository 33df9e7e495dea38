"""Two processes that want the same images at the same moment pay once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ledger_address", ["sqlite", "postgresql"], indirect=True)
def test_two_processes_that_ask_for_one_key_send_one_request(mill, words, tmp_path):
    """Each gets every picture; each picture is sent, paid and stored once, by one of them."""
    mill.fake.script(latency_s=1.0)
    prompts = words(6)
    command = [sys.executable, "-c", "from apps.cli import main; main()", "batch", "--json",
               "-c", "3", *prompts]  # fmt: skip
    environment = {**os.environ, **mill.environment}
    twins = []
    for name in ("one", "other"):
        with (tmp_path / name).open("w") as err:
            twins.append(
                subprocess.Popen(
                    command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=err
                )
            )
    results = [json.loads(twin.communicate(timeout=200)[0]) for twin in twins]
    assert [result["success_count"] for result in results] == [6, 6]
    assert mill.fake.stats.requests == mill.fake.stats.images_billed == 6
    assert sum(result["reused_count"] for result in results) == 6
    assert len(mill.rows("SELECT id FROM charges")) == 6
    assert [a["sha256"] for a in results[0]["results"]] == [
        b["sha256"] for b in results[1]["results"]
    ]
