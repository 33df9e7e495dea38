"""The eye on a whole pack: a vision model looks at the numbered contact sheet and names who is off.

It answers by number; names, verdict and weights are ours. An unparsable answer is no judgement.
"""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemill.asset.data import as_data, filled, shelf_file
from imagemill.asset.judgement import Score
from imagemill.asset.request import StyleGuide
from imagemill.errors import JudgeFailed
from imagemill.words import PricedWords

_ANSWER = ConfigDict(hide_input_in_errors=True, allow_inf_nan=False)


class NumberedScore(BaseModel):
    """One asset of the sheet as the model is asked to answer it."""

    model_config = _ANSWER

    number: int
    consistency: Annotated[float, Field(ge=0, le=100)]
    remark: str


class PackAnswer(BaseModel):
    """The response schema: one entry a picture, and the numbers that are off style."""

    model_config = _ANSWER

    assets: list[NumberedScore]
    off_style: list[int]
    summary: str


class SeenAsset(BaseModel):
    """What the model said of one asset; `score` 0 to 100, 100 fits perfectly."""

    model_config = ConfigDict(frozen=True)

    name: str
    score: Score
    remark: Annotated[str, Field(repr=False)] = ""


class PackJudgement(BaseModel):
    """A vision model's opinion of a pack.

    Attributes:
        score: The mean of its assets', computed here.
        off_style: Names, in the order of the sheet.
    """

    model_config = ConfigDict(frozen=True)

    score: Score
    assets: tuple[SeenAsset, ...]
    off_style: tuple[str, ...] = ()
    summary: Annotated[str, Field(repr=False)] = ""
    judge: str
    cost_usd: Decimal = Decimal(0)


async def judge_pack(
    words: PricedWords, sheet_png: bytes, names: tuple[str, ...], guide: StyleGuide
) -> PackJudgement:
    """Have a pack judged once. Paid by the tokens really used.

    Args:
        words: The model that looks.
        sheet_png: A contact sheet whose pictures are numbered from 1, in the order of `names`.
        names: Of the assets.
        guide: How they were to look.

    Raises:
        JudgeFailed: the answer is cut, empty, or does not speak of every asset once.
        ProviderError: or another of its family: nobody judged.
    """
    question = filled(
        shelf_file("pack_judge")["question"],
        {
            "number": str(len(names)),
            "art_style": as_data(guide.art_style),
            "palette": ", ".join(guide.color_palette) or "not fixed",
            "mood": as_data(guide.mood) or "not fixed",
        },
    )
    written = await words.write(question, pictures=[sheet_png], schema=PackAnswer)
    answer = _parsed(written.text) if written.whole else None
    numbers = sorted(each.number for each in answer.assets) if answer else []
    if answer is None or numbers != list(range(1, len(names) + 1)):
        raise JudgeFailed(
            f"{words.name} judged no pack: its answer does not speak of each of {len(names)} "
            "assets once.",
            remedy="Ask again; the pixels' verdict stands meanwhile.",
            reason="UNPARSABLE", cost_usd=written.cost_usd,
        )  # fmt: skip
    said = sorted(answer.assets, key=lambda each: each.number)
    seen = tuple(
        SeenAsset(name=name, score=each.consistency, remark=" ".join(each.remark.split())[:300])
        for name, each in zip(names, said, strict=True)
    )
    off = {number for number in answer.off_style if 1 <= number <= len(names)}
    return PackJudgement(
        score=round(sum(each.score for each in seen) / len(seen), 1), assets=seen,
        off_style=tuple(names[number - 1] for number in sorted(off)),
        summary=" ".join(answer.summary.split())[:600], judge=written.model,
        cost_usd=written.cost_usd,
    )  # fmt: skip


def _parsed(text: str) -> PackAnswer | None:
    try:
        return PackAnswer.model_validate_json(text.strip().removeprefix("```json").strip("`\n "))
    except ValidationError:
        return None
