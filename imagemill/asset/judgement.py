"""What a judge says about one picture. The weighted overall is computed here, never by the judge."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PASS_SCORE = 90.0
"""The document's bar (003, section 4.1)."""

WEIGHTS = {
    "style_consistency": 25,
    "technical_quality": 20,
    "transparency": 20,
    "game_fit": 20,
    "composition": 15,
}
"""Percent of the overall score (003, section 4.1)."""

MAX_SUGGESTIONS = 3
"""The document asks for the top three (003, section 4.1)."""

_FROZEN = ConfigDict(frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

Score = Annotated[float, Field(ge=0, le=100)]
Sentence = Annotated[str, Field(repr=False)]


class Metric(BaseModel):
    """One criterion. `score` is 0 to 100, 100 is best; None means that nobody looked."""

    model_config = _FROZEN

    score: Score | None
    feedback: Sentence = ""
    suggestions: Annotated[tuple[str, ...], Field(repr=False)] = ()


class Metrics(BaseModel):
    """The five criteria of the document, by name."""

    model_config = _FROZEN

    style_consistency: Metric
    technical_quality: Metric
    transparency: Metric
    game_fit: Metric
    composition: Metric

    def named(self) -> tuple[tuple[str, Metric], ...]:
        """Name and metric, in the document's order."""
        return tuple((name, getattr(self, name)) for name in WEIGHTS)

    @property
    def overall_score(self) -> float:
        """The weighted mean of what was scored, 0 to 100; 0 when nothing was."""
        scored = [(WEIGHTS[name], m.score) for name, m in self.named() if m.score is not None]
        total = sum(weight for weight, _ in scored)
        if not total:
            return 0.0
        return round(sum(weight * score for weight, score in scored) / total, 2)


class Judgement(BaseModel):
    """The verdict on one picture.

    Attributes:
        overall_score: 0 to 100, 100 is best.
        passed: Whether the score reaches the document's 90.
        improvement_suggestions: The three that matter most; fewer when there is less to say.
        judge: Who judged: a model's name, or `pixels`.
        semantic: Whether anybody looked at what the picture shows.
        cost_usd: What the judgement was billed.
    """

    model_config = _FROZEN

    overall_score: Score
    passed: bool
    metrics: Metrics
    improvement_suggestions: Annotated[
        tuple[str, ...], Field(max_length=MAX_SUGGESTIONS, repr=False)
    ] = ()
    judge: str
    semantic: Literal["assessed", "not assessed"]
    cost_usd: Decimal = Field(default=Decimal(0), ge=0)

    @classmethod
    def of(
        cls,
        metrics: Metrics,
        *,
        judge: str,
        semantic: Literal["assessed", "not assessed"] = "assessed",
        first: tuple[str, ...] = (),
        highest: float = 100.0,
        cost_usd: Decimal = Decimal(0),
    ) -> "Judgement":
        """Weigh the metrics.

        Args:
            metrics: As the judge scored them.
            judge: Who judged.
            semantic: Whether anybody looked at what the picture shows.
            first: The judge's own top suggestions; those of the weakest metrics fill up to three.
            highest: A score above this is lowered to it.
            cost_usd: What the judgement was billed.
        """
        overall = min(metrics.overall_score, highest)
        weakest = sorted(
            (m for _, m in metrics.named() if m.score is not None), key=lambda m: m.score or 0.0
        )
        offered = [*first, *(text for metric in weakest for text in metric.suggestions)]
        told = dict.fromkeys(" ".join(text.split())[:300] for text in offered)
        return cls(
            overall_score=overall,
            passed=overall >= PASS_SCORE,
            metrics=metrics,
            improvement_suggestions=tuple(text for text in told if text)[:MAX_SUGGESTIONS],
            judge=judge,
            semantic=semantic,
            cost_usd=cost_usd,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the document's `ValidationResult.to_dict`, and who judged at what price."""
        return self.model_dump(mode="json")
