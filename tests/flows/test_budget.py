"""A ceiling holds: for a run and what continues it, for a day, for a deployment; a dry run is free."""

import asyncio
from decimal import Decimal

import pytest

from imagemill.errors import RequestError


def entries(result, *fields):
    return [tuple(entry[name] for name in fields) for entry in result["results"]]


def spent(mill):
    return mill.rows("SELECT coalesce(sum(amount_usd), 0) FROM charges")[0][0] / 1e9


def test_at_the_ceiling_what_is_on_the_wire_comes_in_and_the_rest_is_not_started(mill, words):
    """The last dollar is used: reservations above the bill are waited for, then the run says so."""
    mill.fake.script(latency_s=0.1)
    state = mill.run(words(12), max_concurrent=4, max_cost_usd=0.2, state=True)
    result = asyncio.run(state.aresult())
    # An image costs $0.0337 and holds up to $0.0426: five fit, four would if nobody waited.
    assert mill.fake.stats.requests == result["success_count"] == 5
    assert spent(mill) <= 0.2
    rest = [entry for entry in result["results"] if not entry["success"]]
    assert {(e["status"], e["error_class"], e["attempts"]) for e in rest} == {
        ("not_started", "budget", 0)
    }
    assert "max_cost_usd" in rest[0]["error"]
    assert state.name == "CompletedWithFailures"
    assert "budget is used up after 5 of 12" in state.message


def test_a_budget_covers_the_chain_and_a_higher_one_finishes_it(mill, words):
    """Resumed under the same budget nothing more is sent; under a higher one the rest is made."""
    from flows.resume import resume_run

    first = mill.run(words(8), max_cost_usd=0.1)
    assert first["success_count"] == 2
    same = asyncio.run(resume_run(run=first["run_id"]))
    assert (same["success_count"], same["reused_count"]) == (2, 2)
    assert mill.fake.stats.requests == 2
    more = asyncio.run(resume_run(run=first["run_id"][:13], max_cost_usd=5))
    assert (more["success_count"], more["reused_count"]) == (8, 2)
    assert mill.fake.stats.images_billed == 8


def test_a_day_has_a_ceiling_over_all_runs(mill, words):
    """The second run of the day finds little room; tomorrow is another day."""
    mill.ask(lambda ledger: ledger.set_ceiling(Decimal("0.2")))
    assert mill.run(words(4))["success_count"] == 4
    second = mill.run(words(4))
    assert second["success_count"] == 1
    assert "imagemill budget" in second["results"][-1]["error"]
    assert spent(mill) <= 0.2
    today = mill.ask(lambda ledger: ledger.ceilings())[0]
    assert today.spent_usd == Decimal(str(spent(mill)))
    mill.ask(lambda ledger: ledger.set_ceiling(None))
    assert mill.run(words(2))["success_count"] == 2


HELD = 0.0426
"""What the catalog holds for an image of the default model."""

DEAR = 0.6
"""What the fake bills for a dear one: 20,000 tokens of $30 a million, and some words."""


@pytest.mark.parametrize("at_once", [3, 20])
def test_a_provider_that_bills_above_its_worst_case_stops_the_run_after_one(mill, words, at_once):
    """Its bill passes the ceiling by one such difference, however many might go at once."""
    mill.fake.script(latency_s=0.1, faults=[{"kind": "dear"}])
    result = mill.run(words(30), max_concurrent=at_once, max_cost_usd=0.2)
    assert mill.fake.stats.images_billed == mill.fake.stats.requests == 1
    assert DEAR < spent(mill) <= 0.2 + (spent(mill) - HELD)
    assert result["success_count"] == 1
    assert "more than its worst case" in result["results"][-1]["error"]
    assert "the ceiling of $0.2 is passed" in result["results"][-1]["error"]


@pytest.mark.parametrize("at_once", [3, 20])
def test_what_was_billed_is_held_for_the_next_ones(mill, words, at_once):
    """With room for three such bills three are sent, in this run and in the one that resumes it."""
    from flows.resume import resume_run

    mill.fake.script(latency_s=0.1, faults=[{"kind": "dear"}])
    first = mill.run(words(30), max_concurrent=at_once, max_cost_usd=2)
    assert (mill.fake.stats.images_billed, first["success_count"]) == (3, 3)
    assert spent(mill) <= 2
    assert "billed more than its price" in first["results"][-1]["error"]
    more = asyncio.run(resume_run(run=first["run_id"], max_cost_usd=3.2))
    assert (mill.fake.stats.images_billed, more["success_count"]) == (5, 5)
    assert spent(mill) <= 3.2


def test_one_dear_bill_in_the_middle_passes_the_ceiling_by_its_own_difference(mill, words):
    """Prices were known; what goes out after the surprise is held at it, or not sent."""
    mill.fake.script(latency_s=0.1, faults=[{"kind": "dear", "nth": [4]}])
    result = mill.run(words(12), max_concurrent=3, max_cost_usd=0.3)
    assert spent(mill) <= 0.3 + DEAR + 0.01 - HELD
    assert mill.fake.stats.requests == result["success_count"] <= 4 + 2  # two were beside it
    assert "more than its worst case" in result["results"][-1]["error"]


def test_a_dry_run_prices_and_sends_nothing(mill, words):
    """What is paid already costs nothing; no run is begun."""
    prompts = words(4)
    mill.run(prompts[:3])
    found = mill.run(prompts, dry_run=True)
    assert found["dry_run"]
    assert (found["estimate"]["images"], found["estimate"]["paid_already"]) == (4, 3)
    assert 0 < float(found["estimate"]["min_usd"]) <= float(found["estimate"]["max_usd"]) < 0.05
    assert mill.fake.stats.requests == 3
    assert len(mill.rows("SELECT id FROM runs")) == 1


@pytest.mark.parametrize("budget", [-1, "much", 10**9])
def test_a_budget_that_is_none_is_refused_at_the_door(mill, words, budget):
    """Before anything is paid."""
    with pytest.raises(RequestError, match="max_cost_usd"):
        mill.run(words(1), max_cost_usd=budget)
    assert mill.fake.stats.requests == 0
