"""A run of assets in words: the document's cost summary, and a page that names files and no words."""

from decimal import Decimal

from imagemill.asset.publishing import AssetsResult, summed
from imagemill.asset.report import asset_rows, assets_in_markdown
from imagemill.asset.result import AssetMetadata, AssetResult, Iteration
from imagemill.errors import BudgetExceeded
from imagemill.ledger.answers import Bill
from imagemill.request import BatchResult
from tests.asset.builders import CANARY

BILLS = {
    "image": Bill(kind="image", calls=3, cost_usd=Decimal("0.1029")),
    "judge": Bill(
        kind="judge", calls=3, tokens_in=900, tokens_out=120, cost_usd=Decimal("0.00225")
    ),
    "refine": Bill(
        kind="refine", calls=2, tokens_in=600, tokens_out=80, cost_usd=Decimal("0.0015")
    ),
    "failure": Bill(kind="failure", calls=1, cost_usd=Decimal("0.001")),
}
SPENT = sum((bill.cost_usd for bill in BILLS.values()), Decimal(0))


def test_the_summary_adds_up_to_what_was_spent():
    """Pictures, judge calls and refinements by what the ledger charged; the rest is named, too."""
    found = summed(BILLS, 3, SPENT, Decimal("0.02"))
    assert (found.images_generated, found.vision_calls, found.refine_calls) == (3, 3, 2)
    assert (found.vision_tokens, found.refine_tokens) == (1_020, 680)
    assert found.other_usd == Decimal("0.001")
    parts = found.images_usd + found.vision_usd + found.refine_usd + found.other_usd
    assert parts == found.total_usd == SPENT
    nothing = summed({}, 0, SPENT - SPENT, SPENT - SPENT).model_dump(mode="json")
    assert {value for name, value in nothing.items() if name.endswith("_usd")} == {"0"}
    told = "\n".join(found.lines())
    assert "Vision API Calls: 3\n  Tokens: 1,020\n  Cost: $0.0023" in told
    assert told.endswith("TOTAL: $0.1077")
    assert "Reused, not paid again: $0.0200" in told


def result() -> AssetsResult:
    turns = tuple(
        Iteration(iteration=n, score=score, generation_time=1, passed=False, judged=score > 0)
        for n, score in ((1, 62), (2, 0))
    )
    metadata = AssetMetadata(
        total_iterations=2, iteration_history=turns, final_score=62, score=62, prompt=CANARY,
        stopped="judge: The judge failed 2 times in a row.", cost_usd=Decimal("0.07"),
    )  # fmt: skip
    refused = BudgetExceeded("The budget is used up.")
    failed = [
        AssetResult.failed(
            name, refused, state="not_started", category="item", name=name,
            metadata=metadata.model_copy(update={"iteration_history": (), "score": None}),
        )
        for name in ("crown", "a|b")
    ]  # fmt: skip
    shown = failed[0].model_copy(update={"metadata": metadata})
    return AssetsResult(
        batch=BatchResult(run_id="r", total=2, success_count=0, failure_count=2, cost_usd=SPENT),
        results=(shown, failed[1]), cost_summary=summed(BILLS, 3, SPENT, Decimal(0)),
        target_score=90, judge="gemini_3*", refiner="rules", segmenter="none",
        notes=("No segmenter: [nothing] is cut out.",),
    )  # fmt: skip


def test_the_table_tells_a_bad_picture_from_one_that_nobody_judged():
    """62 → ?; what was not started has no score."""
    first, second = asset_rows(result())
    assert (first["asset"], first["scores"], first["stopped"]) == ("item/crown", "62 → ?", "judge")
    assert (second["score"], second["state"], second["error"]) == (
        "—",
        "not_started",
        "BudgetExceeded",
    )


def test_the_page_holds_no_words_of_a_prompt_and_obeys_none():
    """Names and notes are escaped; the summary is there as the document prints it."""
    page = assets_in_markdown(result(), sheet_url="http://s/sheet.png", record_url=None)
    assert CANARY not in page
    assert "gemini\\_3\\*" in page
    assert "\\[nothing\\]" in page
    assert "![Contact sheet](http://s/sheet.png)" in page
    assert "Cost Summary:" in page
