"""What a judge is, and the one that needs no key: it counts technical checks and sees no meaning."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from imagemill.asset.judgement import Judgement, Metric, Metrics
from imagemill.asset.request import AssetRequest, StyleGuide
from imagemill.errors import JudgeFailed

PIXEL_CAP = 89.0
"""The pixel judge's highest score: below the document's 90, because it never saw the picture. Each
failed check takes a point off it, so that only a picture without a fault has it."""

POINTS_LOST = 25.0
"""What a failed check takes from its metric; our choice: four failures leave nothing."""

BLANK_CAP = 10.0
"""The highest score of a picture with nothing on it, whatever its other checks say."""

_METRIC_WORDS = {
    "transparency": ("alpha", "transparen", "border", "halo", "checker", "stray", "background",
                     "coverage", "fringe"),
    "composition": ("cent", "crop", "margin", "cut_off", "cutoff", "padding"),
}  # fmt: skip
"""Which metric a check counts for, by a part of its name; any other is technical quality."""


class CheckOutcome(Protocol):
    """What a technical check found out about a picture.

    `value` and `threshold` have the check's own unit; `remedy` is an instruction to whoever draws
    the picture anew, without prompt text.
    """

    @property
    def name(self) -> str:
        """The check, e.g. `border_transparency`."""
        ...

    @property
    def passed(self) -> bool:
        """The check's verdict."""
        ...

    @property
    def value(self) -> float:
        """What was measured."""
        ...

    @property
    def threshold(self) -> float:
        """Where passing ends."""
        ...

    @property
    def remedy(self) -> str:
        """What to ask for next time."""
        ...


@dataclass(frozen=True)
class Outcome:
    """The plainest `CheckOutcome`."""

    name: str
    passed: bool
    value: float = 0.0
    threshold: float = 0.0
    remedy: str = ""


Checks = Callable[[bytes, AssetRequest, StyleGuide], Sequence[CheckOutcome]]
"""From an encoded picture and what was ordered to every check's outcome; it may block."""


class Judge(Protocol):
    """Gives its opinion on one picture."""

    name: str

    async def judge(
        self, picture_bytes: bytes, request: AssetRequest, guide: StyleGuide
    ) -> Judgement:
        """Judge once, never retried inside.

        Args:
            picture_bytes: Encoded PNG, JPEG or WebP, as it would be delivered.
            request: What was ordered.
            guide: How it was to look.

        Raises:
            JudgeFailed: what came is no judgement; `cost_usd` was billed all the same.
            ProviderError: or another of its family: nobody judged; retry if it says so.
        """
        ...


class PixelJudge:
    """Judges by technical checks alone, says `semantic: not assessed`, and never reaches 90.

    Style and game fit keep the score None. Free and offline.

    Args:
        checks: Run in a thread of their own.
    """

    name = "pixels"

    def __init__(self, checks: Checks) -> None:
        self._checks = checks

    async def judge(
        self, picture_bytes: bytes, request: AssetRequest, guide: StyleGuide
    ) -> Judgement:
        """Judge once; see `Judge`."""
        outcomes = await asyncio.to_thread(self._checks, picture_bytes, request, guide)
        return pixel_judgement(outcomes)


def pixel_judgement(outcomes: Sequence[CheckOutcome]) -> Judgement:
    """Return what the outcomes of technical checks amount to, at most `PIXEL_CAP`.

    Each metric starts at 100 and loses `POINTS_LOST` a failed check; weights are the document's,
    over the metrics that were looked at.

    Raises:
        JudgeFailed: there are no outcomes, so nothing was seen at all.
    """
    if not outcomes:
        raise JudgeFailed(
            "No technical check looked at the picture.",
            remedy="Configure checks, or a judge that looks at pictures.",
            reason="NO_CHECKS",
        )
    by_metric: dict[str, list[CheckOutcome]] = {}
    for outcome in outcomes:
        by_metric.setdefault(metric_of(outcome.name), []).append(outcome)
    unseen = Metric(score=None, feedback="Not assessed: the pixel judge does not see meaning.")
    metrics = Metrics(
        style_consistency=unseen,
        game_fit=unseen,
        **{
            name: _metric(by_metric.get(name, []))
            for name in ("technical_quality", "transparency", "composition")
        },
    )
    failed = sum(not each.passed for each in outcomes)
    blank = any("blank" in each.name and not each.passed for each in outcomes)
    return Judgement.of(
        metrics,
        highest=BLANK_CAP if blank else max(0.0, PIXEL_CAP - failed),
        judge=PixelJudge.name,
        semantic="not assessed",
    )


def metric_of(check_name: str) -> str:
    """Return the metric that a check counts for."""
    name = check_name.casefold()
    for metric, words in _METRIC_WORDS.items():
        if any(word in name for word in words):
            return metric
    return "technical_quality"


def told(outcomes: Sequence[CheckOutcome]) -> list[str]:
    """Return each outcome as a line for a person or a model."""
    return [
        f"{each.name}: {'passed' if each.passed else 'FAILED'} "
        f"(measured {each.value:g}, threshold {each.threshold:g})"
        for each in outcomes
    ]


def _metric(outcomes: Sequence[CheckOutcome]) -> Metric:
    if not outcomes:
        return Metric(score=None, feedback="Not assessed: no check for it.")
    failed = [each for each in outcomes if not each.passed]
    return Metric(
        score=max(0.0, 100.0 - POINTS_LOST * len(failed)),
        feedback=f"{len(outcomes) - len(failed)} of {len(outcomes)} checks passed.",
        suggestions=tuple(each.remedy for each in failed if each.remedy),
    )
