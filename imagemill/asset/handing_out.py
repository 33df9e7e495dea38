"""A finished asset as files: `category/name.png` and `.json` in the asker's folder and in the store."""

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from imagemill.asset.bench import Bench, Turn
from imagemill.asset.finishing import pixels, white_preview
from imagemill.asset.judgement import PASS_SCORE
from imagemill.asset.request import AssetSize
from imagemill.asset.result import AssetImage, AssetMetadata, AssetResult, Iteration, State
from imagemill.asset.studio import Studio
from imagemill.errors import Billing, BudgetExceeded, ImagemillError, NoImage, RunStopped
from imagemill.spool import hand_out, write_durably

PREVIEW = "preview.png"


async def deliver(studio: Studio, number: int) -> AssetResult:
    """Write an asset's files, upload them, and return its result; a failed one has no files.

    Raises:
        ArtifactError: the output folder or the store did not take them; nothing is paid again.
    """
    bench = studio.benches[number]
    metadata = metadata_of(studio, bench)
    best = bench.best
    if best is None or best.artifact is None or best.path is None:
        return _failed(bench, metadata)
    places = await asyncio.to_thread(_handed_out, studio, bench, best)
    shop, request = studio.shop, bench.request
    if metadata.from_cache is False or not await shop.store.exists(best.artifact):
        async with shop.uploads:
            await shop.store.put_file(best.artifact, best.path)
    result = AssetResult(
        request_id=request.id, status="success", category=request.category, name=request.name,
        state="reused" if metadata.from_cache else "made",
        image=AssetImage(
            path=str(places[0]), file_size=best.artifact.size_bytes,
            size=AssetSize(width=best.artifact.width_px, height=best.artifact.height_px),
            sha256=best.artifact.digest, url=shop.store.url(best.artifact), preview=str(places[1]),
        ),
        metadata=metadata,
    )  # fmt: skip
    await _recorded(studio, bench, best, result)
    return result


async def _recorded(studio: Studio, bench: Bench, best: Turn, result: AssetResult) -> None:
    """Write the JSON beside the picture, and both into the store under the run's names."""
    shop, assert_path = studio.shop, best.path or Path()
    record = json.dumps(record_of(bench, result), ensure_ascii=False, indent=2).encode()
    place = studio.output_dir / bench.request.category / f"{bench.request.name}.json"
    await asyncio.to_thread(write_durably, place, record)
    key = f"runs/{shop.run.id}/assets/{bench.request.category}/{bench.request.name}"
    async with shop.uploads:
        data = await asyncio.to_thread(assert_path.read_bytes)
        await shop.store.put_named(f"{key}.png", data, media_type="image/png")
        await shop.store.put_named(f"{key}.json", record, media_type="application/json")


def record_of(bench: Bench, result: AssetResult) -> dict[str, object]:
    """Return what lies beside the picture: the result, and the request and guide it came from."""
    return {
        **result.to_json(),
        "request": bench.request.model_dump(mode="json"),
        "style_guide": bench.guide.to_json(),
    }


def metadata_of(studio: Studio, bench: Bench) -> AssetMetadata:
    """Return how an asset came to be, so far as it did."""
    best, ending = bench.best, bench.ending
    score = best.judgement.overall_score if best and best.judgement else None
    history = tuple(_history(bench))
    return AssetMetadata(
        total_iterations=len(history), iteration_history=history, final_score=score or 0.0,
        from_cache=bool(best) and not bench.sent, iteration=ending.best if ending else None,
        score=score, prompt=best.prompt if best else None,
        validation=best.judgement if best else None,
        stopped=f"{ending.why}: {ending.reason}" if ending else "", cost_usd=bench.paid_usd,
        target_score=studio.target_score, judge=studio.judge_name, refiner=studio.refiner_name,
        semantic=best.judgement.semantic if best and best.judgement else "not assessed",
        finish=best.facts if best else None, checks=best.checks if best else (),
        original_sha256=(best.drawn.sha256 or "") if best and best.drawn else "",
        provider=best.drawn.provider if best and best.drawn else "",
        model=best.drawn.model if best and best.drawn else "",
    )  # fmt: skip


def _history(bench: Bench) -> Iterator[Iteration]:
    for number, turn in sorted(bench.turns.items()):
        if turn.drawn is None:
            continue
        judgement = turn.judgement
        yield Iteration(
            iteration=number, score=judgement.overall_score if judgement else 0.0,
            generation_time=turn.seconds, passed=bool(judgement and judgement.passed),
            suggestions=judgement.improvement_suggestions if judgement else (),
            judged=judgement is not None, cost_usd=turn.cost_usd, refined_by=turn.by,
            cut_out=turn.facts.cut_out, sha256=turn.artifact.digest if turn.artifact else "",
            failed_checks=tuple(check.name for check in turn.failed_checks),
            original_sha256=turn.drawn.sha256 or "",
        )  # fmt: skip


def undelivered(studio: Studio, number: int, error: ImagemillError) -> AssetResult:
    """Return the result of an asset that was made and could not be handed out; it stays paid."""
    bench = studio.benches[number]
    return _failed(bench, metadata_of(studio, bench), error)


def _failed(
    bench: Bench, metadata: AssetMetadata, error: ImagemillError | None = None
) -> AssetResult:
    ending, request = bench.ending, bench.request
    error = (
        error
        or (ending.error if ending else None)
        or NoImage(
            f"No picture of asset {request.description_digest} could be used.",
            remedy="Look at the run's log.",
        )
    )
    return AssetResult.failed(
        request.id, error, metadata=metadata, state=_state(bench, error),
        category=request.category, name=request.name,
    )  # fmt: skip


def _state(bench: Bench, error: ImagemillError) -> State:
    if error.billing is Billing.UNKNOWN:
        return "ambiguous"
    begun = bench.sent or any(turn.drawn for turn in bench.turns.values())
    if not begun and isinstance(error, (BudgetExceeded, RunStopped)):
        return "not_started"
    return "failed"


def _handed_out(studio: Studio, bench: Bench, best: Turn) -> tuple[Path, Path]:
    """Copy the files into the asker's folder; returns where the picture and its preview lie."""
    request, path = bench.request, best.path or Path()
    folder = studio.output_dir / request.category
    place = hand_out(path, folder, f"{request.name}.png")
    beside = folder / request.name
    preview = beside / PREVIEW
    write_durably(preview, white_preview(pixels(path.read_bytes())))
    if studio.order.keep_intermediate:
        for number, turn in bench.turns.items():
            if turn.path:
                hand_out(turn.path, beside, f"iteration-{number}.png")
            if turn.drawn:
                suffix = turn.original.suffix
                hand_out(turn.original, beside, f"iteration-{number}-original{suffix}")
    return place, preview


def saved_usd(results: tuple[AssetResult, ...]) -> Decimal:
    """Return what pictures and answers that were reused had cost."""
    made = (result.metadata for result in results if result.metadata)
    total = sum(
        (sum((i.cost_usd for i in m.iteration_history), Decimal(0)) - m.cost_usd for m in made),
        Decimal(0),
    )
    return max(total, Decimal(0))


def passed(result: AssetResult) -> bool:
    """Tell whether an asset reached the document's bar."""
    return bool(result.metadata and result.metadata.final_score >= PASS_SCORE)
