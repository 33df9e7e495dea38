"""A run of assets in words and figures, for the UI. Names and numbers; no words of a prompt."""

from imagemill.asset.publishing import AssetsResult
from imagemill.asset.result import AssetResult
from imagemill.report import duration, escaped, money


def asset_rows(result: AssetsResult) -> list[dict[str, str]]:
    """Return the results table, one row an asset."""
    return [_row(number, each) for number, each in enumerate(result.results, start=1)]


def _row(number: int, result: AssetResult) -> dict[str, str]:
    metadata = result.metadata
    scores = [f"{i.score:g}" if i.judged else "?" for i in metadata.iteration_history] if metadata else []  # fmt: skip
    failed = [check.name for check in metadata.checks if not check.passed] if metadata else []
    return {
        "#": str(number),
        "asset": f"{result.category}/{result.name}",
        "state": result.state or result.status,
        "score": f"{metadata.final_score:g}" if metadata and metadata.score is not None else "—",
        "scores": " → ".join(scores),
        "stopped": metadata.stopped.partition(":")[0] if metadata else "",
        "cut out": (metadata.finish.cut_out or "") if metadata and metadata.finish else "",
        "failed checks": ", ".join(failed) or "none",
        "cost": money(metadata.cost_usd) if metadata else "",
        "error": result.error.reason if result.error else "",
    }


def assets_in_markdown(
    result: AssetsResult, *, sheet_url: str | None, record_url: str | None
) -> str:
    """Return the summary: counts, how it was judged, the contact sheet, where the money went."""
    batch = result.batch
    reached = sum(
        bool(each.metadata and each.metadata.final_score >= result.target_score)
        for each in result.results
    )
    lines = [
        f"# {batch.success_count} of {batch.total} assets",
        f"{reached} reached {result.target_score:g}  ·  {money(batch.cost_usd)} spent  ·  "
        f"{duration(batch.seconds)}",
        f"Drawn by {escaped(batch.provider)}/{escaped(batch.model)}, judged by "
        f"{escaped(result.judge)}, refined by {escaped(result.refiner)}, segmenter "
        f"{escaped(result.segmenter)}.",
        *(escaped(note) for note in result.notes),
    ]
    if sheet_url:
        lines.append(f"![Contact sheet]({sheet_url})")
    lines += [
        "```\n" + "\n".join(result.cost_summary.lines()) + "\n```",
        *([f"[Everything as JSON]({record_url})"] if record_url else []),
    ]
    return "\n\n".join(lines) + "\n"
