"""The loop against scripted scores: where it stops, what it returns, and that the bill is the calls'."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image

from tests.asset.builders import opinion
from tests.flows.assets import asset, billed_by, charged, make, scores

PROMPT = "Draw it again, with more love for the outline and a calmer background, number {n}."


def script(mill, *judgements):
    """What the judge says of each picture; between two of them the refiner says something."""
    said = [each if isinstance(each, str) else opinion(each, "Calmer.") for each in judgements]
    answers = [said[0]]
    for n, each in enumerate(said[1:], start=2):
        answers += [PROMPT.format(n=n), each]
    mill.fake.script(text_answers=answers)


def one(mill, folder, **fields) -> dict:
    """Make one asset; returns its result."""
    (result,) = make([asset()], output_dir=str(folder), **fields)["results"]
    return result


def test_the_target_stops_the_loop(mill, tmp_path):
    """62, 71, 93: three pictures, three judgements, two refinements, and the 93 is delivered."""
    script(mill, 62, 71, 93, 100)
    result = one(mill, tmp_path)
    assert scores(result) == [62, 71, 93]
    assert result["metadata"]["final_score"] == 93
    assert result["metadata"]["iteration"] == 3
    assert result["metadata"]["stopped"].startswith("target:")
    assert (mill.fake.stats.images_billed, mill.fake.stats.requests) == (3, 8)
    assert charged(mill) == billed_by(mill.fake) > Decimal("0.1")


@pytest.mark.parametrize(("worth", "made"), [(None, 5), (Decimal("0.01"), 4)])
def test_the_best_is_delivered_not_the_last(mill, tmp_path, worth, made):
    """62, 88, 80, 85, 70: the 88. At a cent a point the fifth picture is not bought."""
    script(mill, 62, 88, 80, 85, 70)
    result = one(mill, tmp_path, point_worth_usd=worth, keep_intermediate=True)
    metadata = result["metadata"]
    assert scores(result) == [62, 88, 80, 85, 70][:made]
    assert (metadata["final_score"], metadata["iteration"]) == (88, 2)
    assert result["image"]["sha256"] == metadata["iteration_history"][1]["sha256"]
    assert metadata["stopped"].partition(":")[0] == ("iterations" if worth is None else "gain")
    beside = tmp_path / "sprite" / "sword"
    assert Path(result["image"]["path"]).read_bytes() == (beside / "iteration-2.png").read_bytes()
    assert len(list(beside.glob("iteration-*-original.png"))) == made
    assert charged(mill) == billed_by(mill.fake)


@pytest.mark.parametrize("second", ["no JSON at all", "{}"])
def test_a_judge_that_fails_twice_neither_passes_nor_loops(mill, tmp_path, second):
    """One picture, two questions, no score; both answers are billed and booked."""
    mill.fake.script(text_answers=["A fine picture! 95 points.", second])
    result = one(mill, tmp_path)
    metadata = result["metadata"]
    assert (result["status"], metadata["final_score"], metadata["total_iterations"]) == (
        "success",
        0,
        1,
    )
    assert metadata["iteration_history"][0]["judged"] is False
    assert metadata["iteration_history"][0]["passed"] is False
    assert metadata["stopped"].startswith("judge:")
    assert mill.fake.stats.requests == 3
    assert charged(mill) == billed_by(mill.fake)
    kinds = dict(mill.rows("SELECT kind, count(*) FROM charges GROUP BY kind"))
    assert kinds == {"image": 1, "judge": 2}


def test_a_judge_that_fails_once_is_asked_once_more_about_the_same_picture(mill, tmp_path):
    """The picture is paid: a second opinion, then the loop goes on as if nothing was."""
    mill.fake.script(text_answers=["hm", opinion(70), PROMPT.format(n=2), opinion(95)])
    result = one(mill, tmp_path)
    assert scores(result) == [70, 95]
    assert (mill.fake.stats.images_billed, mill.fake.stats.requests) == (2, 6)
    assert charged(mill) == billed_by(mill.fake)


def test_a_lost_judgement_is_counted_and_not_asked_again_under_its_key(mill, tmp_path):
    """It may be billed: it is ambiguous at its worst case, and the second opinion is another question."""
    mill.fake.script(text_answers=[opinion(95)] * 2, faults=[{"kind": "drop", "nth": [2]}])
    result = one(mill, tmp_path)
    assert scores(result) == [95]
    states = mill.rows("SELECT state, reserved_usd FROM reservations ORDER BY id")
    assert [state for state, _ in states] == ["charged", "ambiguous", "charged"]
    ((lost,),) = mill.rows("SELECT amount_usd FROM charges WHERE kind = 'ambiguous'")
    assert lost == states[1][1] > 0


def test_a_refiner_that_is_blocked_leaves_it_to_the_rules(mill, tmp_path):
    """What its question billed is booked, and the history says who worded the second picture."""
    mill.fake.script(
        text_answers=[opinion(60, "Calmer."), opinion(95)],
        faults=[{"kind": "prompt_blocked", "nth": [3]}],
    )
    result = one(mill, tmp_path)
    assert [t["refined_by"] for t in result["metadata"]["iteration_history"]] == [
        "template",
        "rules",
    ]
    assert charged(mill) == billed_by(mill.fake)


def test_files_lie_where_the_document_says(mill, tmp_path):
    """category/name.png of the exact size, .json beside it, a preview on white, both in the store."""
    script(mill, 95)
    size = {"width": 96, "height": 48}
    answer = make([asset("crown", category="item", size=size)], output_dir=str(tmp_path))
    (result,) = answer["results"]
    picture, record = tmp_path / "item" / "crown.png", tmp_path / "item" / "crown.json"
    assert result["image"]["path"] == str(picture)
    assert (result["requestId"], result["image"]["size"]) == ("crown", size)
    assert result["image"]["fileSize"] == picture.stat().st_size
    with Image.open(picture) as image:
        assert (image.size, image.mode) == ((96, 48), "RGBA")
    with Image.open(tmp_path / "item" / "crown" / "preview.png") as image:
        assert image.convert("RGBA").getextrema()[3] == (255, 255)
    data = json.loads(record.read_text("utf-8"))
    assert data["requestId"] == "crown"
    assert data["style_guide"]["artStyle"] == "hand_drawn"
    assert data["metadata"]["validation"]["overall_score"] == 95
    summary = answer["cost_summary"]
    assert (summary["images_generated"], summary["vision_calls"], summary["refine_calls"]) == (
        1,
        1,
        0,
    )
    assert summary["vision_tokens"] == 340
    assert Decimal(summary["total_usd"]) == charged(mill) == billed_by(mill.fake)


def test_without_a_key_the_pixel_judge_does_not_burn_pictures(mill, tmp_path, monkeypatch):
    """Its highest score is the target then; semantic is not assessed and nothing claims 90."""
    monkeypatch.delenv("GOOGLE_API_KEY")
    answer = make([asset("fox", description="a red fox")], provider="sketch", output_dir=str(tmp_path), max_iterations=3)  # fmt: skip
    (result,) = answer["results"]
    assert (answer["judge"], answer["refiner"], answer["target_score"]) == ("pixels", "rules", 89)
    assert result["metadata"]["semantic"] == "not assessed"
    assert result["metadata"]["final_score"] < 90
    assert not any(turn["passed"] for turn in result["metadata"]["iteration_history"])
    assert any("beyond the pixel judge" in note for note in answer["notes"])
    assert answer["cost_usd"] in {"0", "0E-9"} or Decimal(answer["cost_usd"]) == 0
    assert mill.fake.stats.requests == 0
