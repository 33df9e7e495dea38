"""A model with eyes scores five criteria; the weights and the verdict are ours. Gemini, or another."""

import asyncio
import json
import re
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemill.asset.data import as_data, filled, shelf_file
from imagemill.asset.judge import Checks, told
from imagemill.asset.judgement import WEIGHTS, Judgement, Metric, Metrics
from imagemill.asset.request import AssetRequest, StyleGuide
from imagemill.errors import AnswerLost, ContentBlocked, JudgeFailed
from imagemill.words import PricedWords, Written

_FENCE = re.compile(r"\s*```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL)
"""Models wrap JSON in a code fence now and then (003, `_extract_json`)."""

_ANSWER = ConfigDict(hide_input_in_errors=True, allow_inf_nan=False)


class Criterion(BaseModel):
    """One criterion as the model is asked to answer it."""

    model_config = _ANSWER

    score: Annotated[float, Field(ge=0, le=100)]
    feedback: str
    suggestions: list[str]


class Opinion(BaseModel):
    """The response schema: what the model says. No overall, no verdict."""

    model_config = _ANSWER

    style_consistency: Criterion
    technical_quality: Criterion
    transparency: Criterion
    game_fit: Criterion
    composition: Criterion
    improvement_suggestions: list[str]


class GeminiJudge:
    """A `Judge` with eyes. One paid request a judgement, by the tokens really used.

    Args:
        words: The model that looks.
        checks: Technical checks whose measurements are put before the model as evidence: it sees
            no alpha channel. None sends the picture alone.
    """

    def __init__(self, words: PricedWords, *, checks: Checks | None = None) -> None:
        self._words = words
        self._checks = checks
        self.name = words.name

    def worst_case_usd(self, request: AssetRequest, guide: StyleGuide) -> Decimal:
        """Return the most one judgement can bill, in USD: what the loop reserves for it."""
        return self._words.worst_case_usd(_question(request, guide, []), pictures=1)

    async def judge(
        self, picture_bytes: bytes, request: AssetRequest, guide: StyleGuide
    ) -> Judgement:
        """Judge once; see `imagemill.asset.judge.Judge`."""
        measured: list[str] = []
        if self._checks is not None:
            found = await asyncio.to_thread(self._checks, picture_bytes, request, guide)
            measured = told(found)
        question = _question(request, guide, measured)
        who = f"{self.name} judged no picture of asset {request.description_digest}"
        try:
            written = await self._words.write(question, pictures=[picture_bytes], schema=Opinion)
        except ContentBlocked as error:
            raise JudgeFailed(
                f"{who}: blocked ({error.reason}).",
                remedy="Look at the picture yourself, or choose another judge.",
                reason=error.reason,
                cost_usd=error.cost_usd,
            ) from error
        except AnswerLost as error:
            raise JudgeFailed(
                f"{who}: its answer was lost and may have been billed.",
                remedy="Ask again; the picture is kept.",
                reason="LOST",
                cost_usd=error.cost_usd,
            ) from error
        return _judgement(written, who)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._words.aclose()


def _question(request: AssetRequest, guide: StyleGuide, measured: list[str]) -> str:
    transparent = guide.constraints.transparent_background
    lines = "".join(f"- {line}\n" for line in measured)
    values = {
        "guide": as_data(json.dumps(guide.to_json(), indent=2, ensure_ascii=False)),
        "art_style": as_data(guide.art_style),
        "description": as_data(request.description),
        "purpose": as_data(request.purpose),
        "width": str(request.size.width),
        "height": str(request.size.height),
        "measured": f"MEASURED BY MACHINE:\n{lines}" if lines else "",
        "transparency": "Is the background fully transparent (or properly white if specified)?"
        if transparent
        else "A background was ordered: is it clean, and does it suit the subject?",
    }
    return filled(shelf_file("judge")["question"], values)


def _judgement(written: Written, who: str) -> Judgement:
    """Return what was written as a judgement.

    Raises:
        JudgeFailed: cut off, empty, or not of the schema asked for.
    """
    reason, opinion = "CUT" if written.text else written.finish_reason, None
    if written.whole:
        reason, opinion = "UNPARSABLE", _parsed(written.text)
    if opinion is None:
        raise JudgeFailed(
            f"{who}: its answer is {reason.lower()} (finish reason {written.finish_reason}).",
            remedy="Ask again; if it stays so, choose another judge model.",
            reason=reason,
            cost_usd=written.cost_usd,
        )
    metrics = {name: getattr(opinion, name) for name in WEIGHTS}
    return Judgement.of(
        Metrics(
            **{
                name: Metric(
                    score=each.score,
                    feedback=each.feedback[:600],
                    suggestions=tuple(each.suggestions[:5]),
                )
                for name, each in metrics.items()
            }
        ),
        first=tuple(opinion.improvement_suggestions),
        judge=written.model,
        semantic="assessed",
        cost_usd=written.cost_usd,
    )


def _parsed(text: str) -> Opinion | None:
    fenced = _FENCE.fullmatch(text)
    try:
        return Opinion.model_validate_json(fenced[1] if fenced else text)
    except ValidationError:
        return None
