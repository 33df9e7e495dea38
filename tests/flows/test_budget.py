"""A ceiling holds: for a run and what continues it, for a day, for a deployment; a dry run is free."""

import asyncio
from decimal import Decimal

import pytest

from imagemill.errors import RequestError
from imagemill.workshop import DESK_SPARE


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


def test_a_bill_above_the_worst_case_stops_the_run(mill, words):
    """It may pass the ceiling by that difference; nothing more is sent, and the reason is named."""
    mill.fake.script(faults=[{"kind": "dear", "nth": [1]}])
    result = mill.run(words(6), max_concurrent=1, max_cost_usd=0.3)
    # Keeping an answer overlaps the next requests: as many as the desk has room may be out already.
    assert mill.fake.stats.requests == result["success_count"] <= 1 + DESK_SPARE
    dear = max(float(entry.get("cost_usd", 0)) for entry in result["results"])
    assert spent(mill) <= 0.3 + dear - 0.0426
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
