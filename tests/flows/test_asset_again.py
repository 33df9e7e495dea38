"""Asked again: from the ledger for nothing; after a kill no key is paid twice; at the budget the best is kept."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from tests.asset.builders import opinion
from tests.flows.assets import asset, billed_by, charged, make, scores

PROJECT = Path(__file__).resolve().parents[2]
RUN = "import json, sys; from tests.flows.assets import make; make(**json.load(open(sys.argv[1])))"


def never_content(body) -> str:
    """Judge by the picture's digest, 40 to 79; refine with words that are new each time."""
    parts = body["contents"][0]["parts"]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    if any("inlineData" in part for part in parts):
        return opinion(40 + int(digest[:6], 16) % 40, f"Mend {digest[:8]}.")
    return f"Draw it once more and mind what was said of it before, as in {digest[:16]}."


def paid_rows(mill) -> list[tuple[str, str]]:
    return mill.rows(
        "SELECT key, state FROM reservations WHERE state IN ('charged', 'ambiguous', 'resent')"
    )


@pytest.mark.parametrize(
    "ledger_address",
    ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)],
    indirect=True,
)
def test_the_same_assets_again_cost_nothing(mill, tmp_path):
    """Pictures, judgements and refinements come from the ledger: no request, no charge, from_cache."""
    mill.fake.script(writer=never_content)
    order = {"requests": [asset("sword"), asset("shield")], "max_iterations": 3,
             "point_worth_usd": None, "output_dir": str(tmp_path)}  # fmt: skip
    first = make(**order)
    requests, spent = mill.fake.stats.requests, charged(mill)
    assert [r["metadata"]["from_cache"] for r in first["results"]] == [False, False]
    again = make(**order)
    assert mill.fake.stats.requests == requests == 2 * (3 + 3 + 2)
    assert charged(mill) == spent == billed_by(mill.fake)
    assert [r["metadata"]["from_cache"] for r in again["results"]] == [True, True]
    assert [r["state"] for r in again["results"]] == ["reused", "reused"]
    assert (Decimal(again["cost_usd"]), Decimal(again["cost_summary"]["saved_usd"])) == (0, spent)
    for one, other in zip(first["results"], again["results"], strict=True):
        assert scores(one) == scores(other)
        assert one["image"]["sha256"] == other["image"]["sha256"]
        assert other["metadata"]["cost_usd"] == "0"


def test_one_more_picture_pays_for_one_more_picture(mill, tmp_path):
    """The history before it is reused: another limit is not another asset."""
    mill.fake.script(writer=never_content)
    order = {"requests": [asset()], "point_worth_usd": None, "output_dir": str(tmp_path)}
    make(**order, max_iterations=2)
    requests = mill.fake.stats.requests
    (result,) = make(**order, max_iterations=3)["results"]
    assert len(scores(result)) == 3
    assert mill.fake.stats.requests == requests + 3  # refinement, picture, judgement
    assert result["metadata"]["from_cache"] is False


def test_twins_are_two_pictures(mill, tmp_path):
    """The same words under two names are drawn and judged each for themselves."""
    mill.fake.script(text_answer=opinion(95))
    text = asset()["description"]
    answer = make([asset("one", description=text), asset("two", description=text)], output_dir=str(tmp_path))  # fmt: skip
    one, two = answer["results"]
    assert one["metadata"]["original_sha256"] != two["metadata"]["original_sha256"]
    assert mill.fake.stats.images_billed == 2


def kill_a_run_of(order, tmp_path, mill, *, after: int) -> None:
    """Start the run in a process of its own and SIGKILL it when the fake has seen `after` requests."""
    file = tmp_path / "order.json"
    file.write_text(json.dumps(order))
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(file)], cwd=PROJECT,
        env={**os.environ, **mill.environment, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while mill.fake.stats.requests < after:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("after", [5, 13, 22])
def test_killed_in_the_middle_no_key_is_paid_twice(mill, tmp_path, after):
    """SIGKILL, then the same call: it goes on where it was, and what was on the wire is listed."""
    mill.fake.script(writer=never_content, latency_s=0.15)
    order = {"requests": [asset(name) for name in ("sword", "shield", "crown")],
             "max_iterations": 4, "point_worth_usd": None, "output_dir": str(tmp_path / "out"),
             "max_concurrent": 2}  # fmt: skip
    kill_a_run_of(order, tmp_path, mill, after=after)
    result = make(**order)
    rows = paid_rows(mill)
    lost = sum(state == "ambiguous" for _, state in rows)
    assert len({key for key, _ in rows}) == len(rows)
    assert lost <= order["max_concurrent"]
    # What was reserved and not yet sent when the process died is in doubt, too.
    assert len(rows) - lost <= mill.fake.stats.requests <= len(rows)
    assert mill.rows("SELECT id FROM reservations WHERE state = 'open'") == []
    assert charged(mill) >= billed_by(mill.fake) - Decimal("0.0000001")
    delivered = [r for r in result["results"] if r["status"] == "success"]
    listed = [r for r in result["results"] if r["status"] == "failed"]
    assert len(delivered) + len(listed) == 3
    assert all(r["state"] == "ambiguous" for r in listed)
    requests = mill.fake.stats.requests
    again = make(**order)
    assert mill.fake.stats.requests == requests
    assert Decimal(again["cost_usd"]) == 0


def test_at_the_budget_the_best_is_delivered_and_the_rest_not_started(mill, tmp_path):
    """Nothing passes the ceiling, words included; what was drawn is judged and handed out."""
    mill.fake.script(writer=never_content)
    order = {"requests": [asset(f"n{n}") for n in range(5)], "point_worth_usd": None,
             "output_dir": str(tmp_path), "max_concurrent": 1}  # fmt: skip
    cap = Decimal("0.25")
    state = make(**order, max_cost_usd=cap, state=True)
    answer = asyncio.run(state.aresult(raise_on_failure=False))
    spent = charged(mill)
    assert spent == billed_by(mill.fake) <= cap
    states = [r["state"] for r in answer["results"]]
    print(f"${spent} of ${cap}: {states}, {[scores(r) for r in answer['results']]}")
    assert states[0] == "made"
    assert states[-1] == "not_started"
    assert answer["not_started_count"] >= 1
    first = answer["results"][0]
    assert first["metadata"]["stopped"].startswith("budget:")
    assert first["metadata"]["final_score"] == max(scores(first)) > 0
    assert Path(first["image"]["path"]).is_file()
    assert all(r["error"]["reason"] == "BudgetExceeded" for r in answer["results"] if "error" in r)
    assert state.name == "CompletedWithFailures"
    assert "budget" in state.message
    more = make(**order, max_cost_usd=Decimal("10"))
    assert all(len(scores(r)) == 5 for r in more["results"])
    assert charged(mill) == billed_by(mill.fake)
    assert scores(more["results"][0])[: len(scores(first))] == scores(first)


def test_a_days_ceiling_holds_for_words_too(mill, tmp_path):
    """`imagemill budget` counts judgements and refinements like pictures."""
    mill.fake.script(writer=never_content)
    mill.ask(lambda ledger: ledger.set_ceiling(Decimal("0.09")))
    (result,) = make([asset()], point_worth_usd=None, output_dir=str(tmp_path))["results"]
    assert result["status"] == "success"
    assert result["metadata"]["stopped"].startswith("budget:")
    assert charged(mill) <= Decimal("0.09")


def test_a_stopped_run_delivers_the_best_and_goes_on_when_asked_again(mill, tmp_path):
    """SIGTERM: nothing more is sent, what is there is handed out, and nothing is paid twice."""
    from imagemill.workshop import stop_sending

    def stopping(body) -> str:
        if mill.fake.stats.requests == 5:
            stop_sending()
        return never_content(body)

    mill.fake.script(writer=stopping)
    order = {"requests": [asset("one"), asset("two")], "point_worth_usd": None,
             "max_iterations": 3, "max_concurrent": 1, "output_dir": str(tmp_path)}  # fmt: skip
    state = make(**order, state=True)
    answer = asyncio.run(state.aresult(raise_on_failure=False))
    assert state.type.value == "CANCELLED"
    assert [r["state"] for r in answer["results"]] == ["made", "not_started"]
    assert len(scores(answer["results"][0])) == 2
    assert answer["results"][0]["metadata"]["stopped"].startswith("stopped:")
    assert mill.fake.stats.requests == 5
    again = make(**order)
    assert [len(scores(r)) for r in again["results"]] == [3, 3]
    assert mill.fake.stats.requests == 2 * (3 + 3 + 2)
    assert charged(mill) == billed_by(mill.fake)
