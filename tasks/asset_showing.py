"""What Prefect's UI shows of a run of assets: a table of them, and a summary with the contact sheet."""

from typing import Any

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from blocks.settings import Settings
from imagemill.asset.publishing import RECORD, AssetsResult
from imagemill.asset.report import asset_rows, assets_in_markdown
from imagemill.publishing import SHEET
from imagemill.report import money


@task(name="show-assets", cache_policy=NO_CACHE, persist_result=False)
async def show_assets(result: AssetsResult) -> None:
    """Write the results table and the summary as UI artifacts."""
    run_id = result.batch.run_id
    table: list[dict[str, Any]] = asset_rows(result)
    await acreate_table_artifact(
        table=table, key=f"results-{run_id}", description="One row an asset."
    )
    sheet, record = result.batch.contact_sheet_url, result.record_url
    if gateway := Settings().gateway_url.rstrip("/"):
        # Presigned links die after a day; the gateway signs them anew at every view.
        sheet, record = (f"{gateway}/r/{run_id}/{name}" for name in (SHEET, RECORD))
    await acreate_markdown_artifact(
        markdown=assets_in_markdown(result, sheet_url=sheet, record_url=record),
        key=f"summary-{run_id}",
        description=f"{result.batch.success_count} of {result.batch.total} assets, "
        f"{money(result.batch.cost_usd)} spent.",
    )
