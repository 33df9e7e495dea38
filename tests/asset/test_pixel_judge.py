"""The judge without a key: it counts checks, and never claims what it did not see."""

import pytest

from imagemill.asset.judge import PIXEL_CAP, Outcome, PixelJudge, metric_of, pixel_judgement
from imagemill.asset.judgement import PASS_SCORE
from imagemill.errors import JudgeFailed
from tests.asset.builders import PICTURE, asset, guide

CLEAN = [
    Outcome(name, passed=True, remedy=f"Mend {name}.")
    for name in ("alpha_present", "border_transparency", "exact_size", "sharpness", "centered",
                 "blank")
]  # fmt: skip


def with_failures(*names):
    return [Outcome(each.name, passed=each.name not in names, remedy=each.remedy) for each in CLEAN]


async def test_a_clean_picture_stays_below_ninety():
    """All checks passed is 89 and no pass: nobody looked at what the picture shows."""
    judge = PixelJudge(lambda data, *_: CLEAN if data == PICTURE else [])
    found = await judge.judge(PICTURE, asset(), guide())
    assert PIXEL_CAP < PASS_SCORE
    assert (found.overall_score, found.passed) == (89, False)
    assert (found.semantic, found.judge, found.cost_usd) == ("not assessed", "pixels", 0)
    assert found.metrics.style_consistency.score is None
    assert found.metrics.game_fit.score is None
    assert found.to_json()["metrics"]["game_fit"]["score"] is None


def test_failures_lower_their_metric_and_their_remedies_are_the_suggestions():
    """Three at most, those of the weakest metric first."""
    found = pixel_judgement(
        with_failures("alpha_present", "border_transparency", "sharpness", "centered")
    )
    assert found.metrics.transparency.score == 50
    assert found.metrics.technical_quality.score == 75
    assert found.overall_score == pytest.approx((50 * 20 + 75 * 20 + 75 * 15) / 55, abs=0.01)
    assert found.improvement_suggestions[:2] == ("Mend alpha_present.", "Mend border_transparency.")
    assert len(found.improvement_suggestions) == 3


def test_more_failures_never_score_higher():
    """The score orders pictures, which is all that the loop needs of it."""
    names = [each.name for each in CLEAN]
    scores = [pixel_judgement(with_failures(*names[:n])).overall_score for n in range(len(names))]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) >= 4


def test_a_blank_picture_is_worth_nothing_whatever_else_holds():
    """Blank is sharp, clean and centred."""
    assert pixel_judgement(with_failures("blank")).overall_score <= 10


async def test_without_checks_nothing_was_judged():
    """No outcome is a failed judgement, not a clean one."""
    with pytest.raises(JudgeFailed, match="No technical check"):
        await PixelJudge(lambda *_: []).judge(PICTURE, asset(), guide())


@pytest.mark.parametrize(
    ("check", "metric"),
    [("fake_checkerboard", "transparency"), ("halo", "transparency"), ("stray_pixels",
     "transparency"), ("cropped_subject", "composition"), ("exact_resolution", "technical_quality"),
     ("palette", "technical_quality"), ("something_new", "technical_quality")],
)  # fmt: skip
def test_each_check_counts_for_one_metric(check, metric):
    """By its name; one that nobody knows is technical."""
    assert metric_of(check) == metric
