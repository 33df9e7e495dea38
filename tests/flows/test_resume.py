"""Going on with a run: exactly what is missing is asked for, and what the asker chose of it."""

import asyncio

import pytest

from imagemill.errors import RequestError


def resume(**fields):
    from flows.resume import resume_run

    return asyncio.run(resume_run(**fields))


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
