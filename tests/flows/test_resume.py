"""Going on with a run: exactly what is missing is asked for, and what the asker chose of it."""

import asyncio
import os
import sys
from datetime import UTC, datetime

import pytest

from imagemill.errors import RequestError
from imagemill.ledger import RunRow
from imagemill.ledger.holder import holder
from tests.flows.test_crash import PROJECT, Command


def resume(**fields):
    from flows.resume import resume_run

    return asyncio.run(resume_run(**fields))


def imagemill(mill, folder, *arguments) -> str:
    """Run a command; return what it says to people."""
    code = "from apps.cli import main; main()"
    process = Command(
        [sys.executable, "-c", code, *arguments], folder, cwd=PROJECT,
        env={**os.environ, **mill.environment, "COLUMNS": "250"},
    )  # fmt: skip
    return " ".join(process.said()[1].split())


@pytest.fixture
def at_work(mill):
    """Begin a run of this very process, newest of all, and leave it at work; returns its id."""

    def begun() -> str:
        now = datetime.now(UTC)
        row = RunRow(
            id="run-at-work-1", kind="batch", lineage="run-at-work-1", batch_digest="d",
            state="running", holder=holder(), created_at=now, heartbeat_at=now,
        )  # fmt: skip
        mill.ask(lambda ledger: ledger.begin_run(row))
        return row.id

    return begun


def test_a_run_that_is_at_work_is_passed_over_aloud(mill, words, at_work, tmp_path):
    """Without a name the next older one is meant, and which one was left alone is said."""
    mill.fake.script(faults=[{"kind": "prompt_blocked", "nth": [1]}])
    left = mill.run(words(2), max_concurrent=1)
    mill.fake.script(faults=[])
    run_id = at_work()
    said = imagemill(mill, tmp_path / "resume", "resume")
    assert f"Passed over run {run_id}: it is at work" in said
    assert f"Going on with run {left['run_id']}" in said


def test_where_the_only_unfinished_run_is_at_work_that_is_the_reason(at_work):
    """It is named, so that nobody looks for one that was lost."""
    run_id = at_work()
    with pytest.raises(RequestError, match=f"left unfinished. Run {run_id} is at work"):
        resume()


def test_a_retry_of_lost_answers_says_what_it_takes(mill, words, tmp_path):
    """Nothing is sent unasked; how to ask, and how to settle them, is said before."""
    mill.fake.script(faults=[{"kind": "drop", "nth": [1]}])
    mill.run(words(2), max_concurrent=1)
    asked = mill.fake.stats.requests
    said = imagemill(mill, tmp_path / "retry", "retry", "--only", "ambiguous")
    assert "Nothing is sent for an image whose answer was lost" in said
    assert said.index("--resend-ambiguous") < said.index("Going on with run")
    assert mill.fake.stats.requests == asked
    more = imagemill(mill, tmp_path / "r2", "retry", "--only", "ambiguous", "--resend-ambiguous")
    assert "Nothing is sent" not in more
    assert mill.fake.stats.requests == asked + 1


def statuses(result):
    return [entry["status"] for entry in result["results"]]


def test_only_the_named_failures_are_tried_again(mill, words):
    """The others stay as the earlier run left them, with their reason; what is made is reused."""
    prompts = words(4)
    mill.fake.script(
        faults=[
            {"kind": "prompt_blocked", "prompt": "number 2 of"},
            {"kind": "quota_per_day", "prompt": "number 4 of"},
        ]
    )
    first = mill.run(prompts, max_concurrent=1)
    assert statuses(first) == ["made", "failed", "made", "failed"]
    asked = mill.fake.stats.requests
    mill.fake.script(faults=[])
    again = resume(run=first["run_id"], only=["quota"])
    assert statuses(again) == ["reused", "failed", "reused", "made"]
    assert again["results"][1]["error"] == first["results"][1]["error"]
    assert mill.fake.stats.requests == asked + 1


def test_without_a_name_the_newest_unfinished_run_is_meant(mill, words):
    """A complete one is passed over; when there is none that is said."""
    mill.fake.script(faults=[{"kind": "prompt_blocked", "nth": [1]}])
    left = mill.run(words(2), max_concurrent=1)
    mill.fake.script(faults=[])
    mill.run(words(1))
    finished = resume()
    assert (finished["total"], finished["success_count"], finished["reused_count"]) == (2, 2, 1)
    assert finished["run_id"] != left["run_id"]


def test_a_resumed_run_pays_nothing_twice_however_late(mill, words):
    """The reuse window is for other people's images; its own chain is for ever."""
    prompts = words(3)
    mill.fake.script(faults=[{"kind": "prompt_blocked", "prompt": "number 1 of"}])
    first = mill.run(prompts, reuse_within_s=0)
    mill.fake.script(faults=[])
    again = resume(run=first["run_id"])
    assert sorted(statuses(again)) == ["made", "reused", "reused"]
    assert mill.fake.stats.images_billed == 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"run": "nowhere"}, "No run begins with nowhere"),
        ({"run": ""}, "No run is left unfinished"),
        ({"run": "x", "only": ["weather"]}, "no error class 'weather'.*rate_limited"),
    ],
)
def test_what_cannot_be_resumed_is_refused_at_the_door(mill, fields, said):
    """Which runs and which classes there are is said."""
    with pytest.raises(RequestError, match=f"(?s){said}"):
        resume(**fields)
    assert mill.fake.stats.requests == 0
