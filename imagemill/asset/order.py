"""What a caller of the asset flow asks for, checked at the door: nothing is paid before."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemill.asset.decision import MAX_ITERATIONS, POINT_WORTH_USD
from imagemill.asset.judgement import PASS_SCORE, Score
from imagemill.asset.request import AssetRequest, StyleGuide, checked
from imagemill.asset.template import template_kind
from imagemill.errors import RequestError
from imagemill.ledger.values import RunRow
from imagemill.planning import checked_batch
from imagemill.request import MAX_BUDGET_USD, MAX_CONCURRENT, MAX_FALLBACK, BatchRequest, Safety
from imagemill.resuming import Limits

MAX_ASSETS = 1_000
MOST_ITERATIONS = 20

STYLES = {"pixel_art": "Pixel Art", "hand_drawn": "Hand Drawn", "ui": "UI Element"}
"""The look on the shelf of styles that the sketch provider draws each template's kind in."""

_OWN_SUFFIXES = (".png", ".json")
_RUNNING_ONLY = {
    "max_concurrent", "max_cost_usd", "store", "output_dir", "keep_intermediate", "webhook",
    "reuse_within_s", "resend_ambiguous", "fallback",
}  # fmt: skip
"""What does not decide the pictures: a crashed order asked again has the same digest without."""


class AssetOrder(BaseModel):
    """Many assets under one style guide, and how far to go for them.

    See the flow's form (`flows.asset`) for what each field means to the asker.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    requests: Annotated[tuple[AssetRequest, ...], Field(min_length=1, max_length=MAX_ASSETS)]
    style_guide: StyleGuide = StyleGuide()
    target_score: Score = PASS_SCORE
    max_iterations: Annotated[int, Field(ge=1, le=MOST_ITERATIONS)] = MAX_ITERATIONS
    max_concurrent: Annotated[int, Field(ge=1, le=MAX_CONCURRENT)] = 3
    max_cost_usd: Annotated[Decimal | None, Field(ge=0, le=MAX_BUDGET_USD)] = None
    provider: str = "gemini"
    model: str = ""
    judge: Annotated[str, Field(max_length=200)] = "auto"
    refiner: Annotated[str, Field(max_length=200)] = "auto"
    segmenter: Annotated[str, Field(max_length=200)] = "auto"
    store: str = "default"
    output_dir: Annotated[str, Field(min_length=1, max_length=1_000)] = "generated-assets"
    keep_intermediate: bool = False
    reuse_within_s: Annotated[int, Field(ge=0)] = 900
    webhook: str = ""
    seed: Annotated[int | None, Field(ge=0, lt=2**31)] = None
    safety: Safety = "block_few"
    point_worth_usd: Annotated[Decimal | None, Field(ge=0, le=1_000)] = POINT_WORTH_USD
    fallback: Annotated[tuple[str, ...], Field(max_length=MAX_FALLBACK)] = ()
    resend_ambiguous: bool = False

    @property
    def digest(self) -> str:
        """sha256 of what decides the pictures."""
        canonical = self.model_dump(mode="json", exclude=_RUNNING_ONLY)
        text = json.dumps({"v": 1, "kind": "assets", **canonical}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def batch(self) -> BatchRequest:
        """Return what the workshop needs to know: limits, store, windows.

        Raises:
            RequestError: one of them is no limit of a batch.
        """
        return checked_batch(
            prompts=tuple(request.description for request in self.requests),
            style_name=STYLES[template_kind(self.requests[0], self.style_guide)],
            max_concurrent=self.max_concurrent, provider=self.provider, model=self.model,
            store=self.store, seed=self.seed, safety=self.safety, webhook=self.webhook,
            reuse_within_s=self.reuse_within_s, resend_ambiguous=self.resend_ambiguous,
            max_cost_usd=self.max_cost_usd, fallback=self.fallback,
        )  # fmt: skip


def checked_order(
    requests: object,
    style_guide: object,
    **fields: Any,  # noqa: ANN401 - this is where input is checked
) -> AssetOrder:
    """Return the order, or say in the house's words what is wrong with it. Never echoes words.

    Raises:
        RequestError: names each field at fault and what it takes; nothing was sent.
    """
    if not isinstance(requests, (list, tuple)) or not requests:
        raise RequestError(
            "requests is a list of at least one asset, each with id, name and description.",
            remedy="Nothing was sent; correct it and try again.",
        )
    assets = tuple(
        checked(AssetRequest, each, what=f"requests[{place}]")
        for place, each in enumerate(requests)
    )
    guide = checked(StyleGuide, {} if style_guide is None else style_guide, what="style_guide")
    _distinct(assets)
    try:
        return AssetOrder(requests=assets, style_guide=guide, **fields)
    except ValidationError as error:
        found = error.errors(include_input=False, include_context=False, include_url=False)
        problems = "; ".join(f"{'.'.join(map(str, e['loc'][:1]))}: {e['msg']}" for e in found)
    raise RequestError(
        f"The assets cannot be made: {problems}.",
        remedy="Nothing was sent; correct it and try again.",
    )


def resumed_order(run: RunRow, limits: Limits, *, only: Sequence[str] = ()) -> AssetOrder:
    """Return what a run of assets was asked for, with what may differ this time.

    Raises:
        RequestError: `only` is not empty, or this version cannot read the run's request.
    """
    whole_run(run, only)
    with suppress(ValueError):
        return limited(AssetOrder.model_validate_json(run.request), limits)
    # Raised out here: pydantic's error would carry the words along.
    raise unreadable(run)


def limited(order: AssetOrder, limits: Limits) -> AssetOrder:
    """Return the order under other limits.

    Raises:
        RequestError: one of them is no limit.
    """
    cap = order.max_cost_usd if limits.max_cost_usd is None else limits.max_cost_usd
    changes = {"resend_ambiguous": limits.resend_ambiguous, "max_cost_usd": cap}
    return checked_order(**{**dict(order), **changes})


def whole_run(run: RunRow, only: Sequence[str]) -> None:
    """Refuse error classes.

    Raises:
        RequestError: there are any.
    """
    if only:
        raise RequestError(
            f"Run {run.id} makes assets, which go on as a whole: each failure ended a loop.",
            remedy="Leave `only` away; what is paid costs nothing.",
        )


def unreadable(run: RunRow) -> RequestError:
    """Return what is said of a run whose request this version cannot read."""
    return RequestError(
        f"What run {run.id} was asked for cannot be read.",
        remedy="Start it again; what is paid is reused within its window.",
    )


def _distinct(assets: Sequence[AssetRequest]) -> None:
    """Refuse ids that are named twice and files that would lie on each other.

    Raises:
        RequestError: says which, by place.
    """
    for what, keys in (
        ("id", [asset.id for asset in assets]),
        ("category and name", [f"{a.category}/{a.name}".casefold() for a in assets]),
    ):
        if again := _second(keys):
            raise RequestError(
                f"requests[{again}] has the {what} of an earlier one.",
                remedy="Give each asset an id of its own, and each file a name of its own.",
            )
    for place, asset in enumerate(assets):
        if asset.name.casefold().endswith(_OWN_SUFFIXES):
            raise RequestError(
                f"requests[{place}]: name goes without {' or '.join(_OWN_SUFFIXES)}.",
                remedy="The suffix is added.",
            )


def _second(keys: Iterable[str]) -> int:
    """Return the place of the first key that was there before, 0 for none."""
    seen: set[str] = set()
    for place, key in enumerate(keys):
        if key in seen:
            return place
        seen.add(key)
    return 0
