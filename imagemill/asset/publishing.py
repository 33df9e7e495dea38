"""The end of a run of assets: totals, cost summary, contact sheet and the record of it all."""

import asyncio
import json
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from imagemill.asset.handing_out import saved_usd
from imagemill.asset.result import AssetResult
from imagemill.asset.studio import Studio
from imagemill.contact_sheet import ContactSheet
from imagemill.ledger.answers import Bill
from imagemill.preview import make_preview
from imagemill.publishing import SHEET
from imagemill.request import BatchResult, ImageResult
from imagemill.spool import write_durably

RECORD = "assets.json"


class CostSummary(BaseModel):
    """Where a run's money went (the document, 7.2 `print_summary`), by the ledger's charges.

    `vision` are the judge's calls. `other_usd` is what failures, lost answers and late bills took;
    lost answers count at their worst case. Reused pictures and answers cost nothing and are counted
    nowhere but in `saved_usd`.
    """

    model_config = ConfigDict(frozen=True)

    images_generated: int
    images_usd: Decimal
    vision_calls: int
    vision_tokens: int
    vision_usd: Decimal
    refine_calls: int
    refine_tokens: int
    refine_usd: Decimal
    other_usd: Decimal
    total_usd: Decimal
    saved_usd: Decimal

    def lines(self) -> list[str]:
        """Return the summary as the document prints it."""
        return [
            "Cost Summary:",
            f"Images Generated: {self.images_generated}",
            f"  Cost: {_usd(self.images_usd)}",
            f"Vision API Calls: {self.vision_calls}",
            f"  Tokens: {self.vision_tokens:,}",
            f"  Cost: {_usd(self.vision_usd)}",
            f"Prompt Refinements: {self.refine_calls}",
            f"  Tokens: {self.refine_tokens:,}",
            f"  Cost: {_usd(self.refine_usd)}",
            *([f"Failed or lost: {_usd(self.other_usd)}"] if self.other_usd else []),
            *([f"Reused, not paid again: {_usd(self.saved_usd)}"] if self.saved_usd else []),
            f"TOTAL: {_usd(self.total_usd)}",
        ]


class AssetsResult(BaseModel):
    """What came of all assets of a run, in input order, with totals.

    `batch` is the same run as the rest of the house sees it: one image an asset.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    batch: BatchResult
    results: tuple[AssetResult, ...]
    cost_summary: CostSummary
    target_score: float
    judge: str
    refiner: str
    segmenter: str
    notes: tuple[str, ...] = ()
    record_url: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the flow's answer: totals, cost summary, and the document's result per asset."""
        states = [result.state for result in self.results]
        made = [result.metadata for result in self.results if result.metadata]
        return {
            "run_id": self.batch.run_id,
            "total": len(self.results),
            "success_count": self.batch.success_count,
            "failure_count": self.batch.failure_count,
            "passed_count": sum(m.final_score >= self.target_score for m in made),
            "from_cache_count": states.count("reused"),
            "not_started_count": states.count("not_started"),
            "target_score": self.target_score,
            "judge": self.judge,
            "refiner": self.refiner,
            "segmenter": self.segmenter,
            "notes": list(self.notes),
            "seconds": self.batch.seconds,
            "cost_usd": str(self.batch.cost_usd),
            "cost_summary": self.cost_summary.model_dump(mode="json"),
            "contact_sheet_path": self.batch.contact_sheet_path,
            "contact_sheet_url": self.batch.contact_sheet_url,
            "record_url": self.record_url,
            "webhook": self.batch.webhook,
            "results": [result.to_json() for result in self.results],
        }


def _usd(amount_usd: Decimal) -> str:
    return f"${amount_usd.quantize(Decimal('0.0001'), ROUND_HALF_UP)}"


async def publish_assets(studio: Studio, results: Sequence[AssetResult]) -> AssetsResult:
    """Add everything up, write contact sheet and record, here and in the store.

    Raises:
        StoreError: the store did not take them; the assets themselves are delivered already.
    """
    shop = studio.shop
    whole = await counted(studio, results)
    sheet = await asyncio.to_thread(_sheet, studio, whole.batch)
    record = json.dumps(whole.to_json(), ensure_ascii=False, indent=1).encode()
    for name, data, kind in ((SHEET, sheet, "image/png"), (RECORD, record, "application/json")):
        await asyncio.to_thread(write_durably, shop.folder / name, data)
        await shop.store.put_named(_key(studio, name), data, media_type=kind)
    return whole


async def counted(studio: Studio, results: Sequence[AssetResult]) -> AssetsResult:
    """Return the result of a run with its totals: what was spent is the ledger's word."""
    shop = studio.shop
    bills = {bill.kind: bill for bill in await shop.ledger.bills(shop.run.id)}
    spent = (await shop.ledger.money_of(shop.run.id)).spent_usd
    drawn = [item for item in await shop.ledger.items(shop.run.id) if item.status == "made"]
    images = tuple(_image(studio, place, result) for place, result in enumerate(results))
    batch = BatchResult.of(
        shop.run.id, images, seconds=round(shop.seconds, 3), provider=shop.provider.name,
        model=shop.capabilities.model, style_name=shop.style.name,
        contact_sheet_url=shop.store.named_url(_key(studio, SHEET)),
        contact_sheet_path=str(shop.folder / SHEET),
        manifest_url=shop.store.named_url(_key(studio, RECORD)),
    ).model_copy(update={"cost_usd": spent})  # fmt: skip
    saved = saved_usd(tuple(results))
    return AssetsResult(
        batch=batch, results=tuple(results), cost_summary=summed(bills, len(drawn), spent, saved),
        target_score=studio.target_score, judge=studio.judge_name, refiner=studio.refiner_name,
        segmenter=studio.segmenter.name if studio.segmenter else "none", notes=studio.notes,
        record_url=batch.manifest_url,
    )  # fmt: skip


def summed(
    bills: dict[str, Bill], images: int, spent_usd: Decimal, saved_usd: Decimal
) -> CostSummary:
    """Return the document's cost summary of a run's bills."""
    none = Bill(kind="")
    image, judge, refine = (bills.get(kind, none) for kind in ("image", "judge", "refine"))
    return CostSummary(
        images_generated=images, images_usd=image.cost_usd,
        vision_calls=judge.calls, vision_tokens=judge.tokens_in + judge.tokens_out,
        vision_usd=judge.cost_usd,
        refine_calls=refine.calls, refine_tokens=refine.tokens_in + refine.tokens_out,
        refine_usd=refine.cost_usd,
        # `or`: a difference of nothing is 0, not 0E-7.
        other_usd=spent_usd - image.cost_usd - judge.cost_usd - refine.cost_usd or Decimal(0),
        total_usd=spent_usd or Decimal(0), saved_usd=saved_usd or Decimal(0),
    )  # fmt: skip


def _image(studio: Studio, place: int, result: AssetResult) -> ImageResult:
    """Return an asset as the house's other pages know images: named by its file, not its words."""
    bench, best = studio.benches[place], studio.benches[place].best
    label = f"{bench.request.category}/{bench.request.name}"
    ending = bench.ending
    error = ending.error if ending else None
    common: dict[str, Any] = {
        "index": place, "prompt": label, "success": result.status == "success",
        "status": result.state or "failed", "cost_usd": bench.paid_usd,
        "key": best.drawn.key if best and best.drawn else "0" * 64,
        # Told of a delivered one, too: a run whose budget ended its loops is not simply complete.
        "error_class": error.error_class if error else None,
    }  # fmt: skip
    if result.image is None or best is None or best.path is None:
        told = result.error.message if result.error else ""
        known = common["error_class"] or "unexpected"
        return ImageResult(**{**common, "error": told, "error_class": known})
    image = result.image
    return ImageResult(
        **common, local_path=image.path, url=image.url, sha256=image.sha256,
        media_type="image/png", width_px=image.size.width, height_px=image.size.height,
        size_bytes=image.file_size, reused=result.state == "reused",
        provider=result.metadata.provider if result.metadata else "",
        model=result.metadata.model if result.metadata else "",
    )  # fmt: skip


def _sheet(studio: Studio, batch: BatchResult) -> bytes:
    sheet = ContactSheet(len(batch.results))
    for image in batch.results:
        if image.success and image.local_path:
            small = studio.shop.folder / "previews" / f"{image.sha256}.webp"
            preview = make_preview(Path(image.local_path), small)
            shown = str(preview) if preview else None
            sheet.hang(image.model_copy(update={"preview_path": shown}))
    return sheet.png(
        batch.results, title=f"{batch.style_name} assets", label=batch.model,
        spent_usd=batch.cost_usd,
    )  # fmt: skip


def _key(studio: Studio, name: str) -> str:
    return f"runs/{studio.shop.run.id}/{name}"
