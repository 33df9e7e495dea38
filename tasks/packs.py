"""The end of a pack: looked at as a whole, and shown on a page."""

import asyncio
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from imagemill.animation.result import AnimationResult
from imagemill.artifact import text_digest
from imagemill.asking import PaidWords
from imagemill.asset.finishing import pixels
from imagemill.asset.publishing import AssetsResult
from imagemill.asset.request import AssetRequest
from imagemill.asset.result import AssetResult
from imagemill.asset.studio import Studio, studio_of
from imagemill.asset.template import template_kind
from imagemill.errors import ImagemillError, LedgerError, StoreError
from imagemill.pack.judge import judge_pack
from imagemill.pack.page import PAGE, report_page
from imagemill.pack.result import PackResult
from imagemill.pack.review import Kin, PackReview, numbered_sheet, reviewed
from imagemill.quality.check import Picture
from imagemill.spool import write_durably


@task(name="review-pack", cache_policy=NO_CACHE, persist_result=False)
async def review_pack(
    run_id: str, results: list[AssetResult], families: list[list[str]]
) -> PackReview | None:
    """Compare the assets with each other, by pixels and, where there is one, by the judge.

    Args:
        run_id: Of the open run.
        results: The single assets; frames of an animation are compared by their drift.
        families: Names of assets that look alike by intention.
    """
    studio = studio_of(run_id)
    pictures = await asyncio.to_thread(_pictures, results)
    if not pictures:
        return None
    guide = studio.order.style_guide
    kin = Kin(tuple(frozenset(names) for names in families))
    hands = {_label(b.request): template_kind(b.request, guide) for b in studio.benches}
    review = await asyncio.to_thread(reviewed, pictures, guide.color_palette, kin, hands=hands)
    if studio.judge is None:
        return review.model_copy(update={"not_judged": "The pixel judge sees no meaning."})
    return await _judged(studio, review, pictures)


async def _judged(
    studio: Studio, review: PackReview, pictures: dict[str, Picture]
) -> PackReview:  # fmt: skip
    """Add the model's opinion; one that does not come leaves the pixels' verdict, and says so."""
    assert studio.judge is not None  # noqa: S101 - the caller looked
    words = PaidWords(studio.shop, studio.judge, kind="judge")
    try:
        sheet = await asyncio.to_thread(numbered_sheet, list(pictures.values()))
        found = await judge_pack(words, sheet, tuple(pictures), studio.order.style_guide)
    except LedgerError:
        raise
    except ImagemillError as error:
        get_run_logger().warning("The pack was not judged: %s", error)
        return review.model_copy(update={"not_judged": str(error)})
    return review.model_copy(update={"judgement": found})


def _label(request: AssetRequest) -> str:
    return f"{request.category}/{request.name}"


def _pictures(results: list[AssetResult]) -> dict[str, Picture]:
    return {
        f"{result.category}/{result.name}": pixels(Path(result.image.path).read_bytes())
        for result in results
        if result.image
    }


@task(name="publish-pack", cache_policy=NO_CACHE, persist_result=False)
async def publish_pack(
    run_id: str,
    name: str,
    assets: AssetsResult,
    animations: list[AnimationResult],
    review: PackReview | None,
) -> PackResult:
    """Write the report page into the output folder and the store; returns the result.

    A store that does not take the page takes only its address from the result.
    """
    studio = studio_of(run_id)
    page = studio.output_dir / PAGE
    result = PackResult(
        name=name, assets=assets, animations=tuple(animations), review=review, page_path=str(page)
    )
    html = (await asyncio.to_thread(report_page, result, studio.order.style_guide, page.parent)).encode()  # fmt: skip
    await asyncio.to_thread(write_durably, page, html)
    key = f"runs/{run_id}/{PAGE}"
    try:
        await studio.shop.store.put_named(key, html, media_type="text/html; charset=utf-8")
    except StoreError as error:
        get_run_logger().warning("The page of pack %s is not in the store: %s", text_digest(name), error)  # fmt: skip
        return result
    return result.model_copy(update={"page_url": studio.shop.store.named_url(key)})
