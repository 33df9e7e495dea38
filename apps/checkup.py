"""`imagemill doctor`: looks at everything a batch needs, sends nothing, changes nothing by itself."""

import asyncio
import shutil
from collections.abc import Callable

from apps.finding import Finding, guarded
from apps.flow_runs import GPU_POOL, waiting_for_a_worker
from apps.gpu_checkup import sdxl_findings
from apps.leftovers import find_leftovers
from apps.prefect_server import running_prefect
from apps.services.lifecycle import status
from blocks.segmenters import u2netp_installed
from blocks.settings import Settings
from imagemill.ledger import open_ledger
from imagemill.prompt import shelf
from imagemill.spool import Spool

LOW_DISK_BYTES = 2_000_000_000


def checkup(settings: Settings) -> list[Finding]:
    """Look at home, disk, styles, ledger, services, object store and key."""
    checks: list[tuple[str, Callable[[Settings], Finding]]] = [
        ("home", _home),
        ("styles", _styles),
        ("ledger", _ledger),
        ("object store", _store),
        ("gemini key", _key),
        ("comfyui", _comfyui),
        ("cut-outs", _cut_outs),
    ]
    findings = [guarded(name, check, settings) for name, check in checks]
    findings += [*sdxl_findings(settings), *_services(settings)]
    if any(finding.level == "bad" and finding.what == "ledger" for finding in findings):
        return findings
    more = [guarded("left behind", _left_behind, settings)]
    if url := running_prefect(settings):
        more.append(guarded("deployments", lambda _: _deployments(url), settings))
    return [*findings, *more]


def _home(settings: Settings) -> Finding:
    Spool(settings.home).check()
    free = shutil.disk_usage(settings.home).free
    found = f"{settings.home} ({free / 1e9:.1f} GB free)"
    if free < LOW_DISK_BYTES:
        return Finding("note", "home", found, "Free some disk, or set IMAGEMILL_HOME elsewhere.")
    return Finding("ok", "home", found)


def _styles(settings: Settings) -> Finding:
    return Finding("ok", "styles", f"{len(shelf(settings.styles_dir))} on the shelf")


def _ledger(settings: Settings) -> Finding:
    ledger = open_ledger(settings.ledger_url)
    try:
        runs = asyncio.run(ledger.latest_runs(limit=1))
    finally:
        ledger.close()
    kind = settings.ledger_url.split(":", 1)[0]
    last = f"last run {runs[0].state}" if runs else "no runs yet"
    return Finding("ok", "ledger", f"{kind}, {last}")


def _store(settings: Settings) -> Finding:
    from blocks.store import load_store

    async def look() -> str:
        store = await load_store("default")
        await store.check()
        return store.name

    if not settings.s3_bucket and not settings.s3_endpoint_url and not settings.services:
        remedy = "Any command starts the embedded one."
        return Finding("note", "object store", "not started", remedy)
    return Finding("ok", "object store", asyncio.run(look()))


def _key(settings: Settings) -> Finding:
    if settings.google_api_key.get_secret_value() or settings.gemini_api_key.get_secret_value():
        return Finding("ok", "gemini key", "set")
    remedy = "Set GOOGLE_API_KEY, save a Gemini block, or use --provider sketch."
    return Finding("note", "gemini key", "not set", remedy)


def _comfyui(settings: Settings) -> Finding:
    """Ask a ComfyUI that is configured for its nodes and checkpoints; it draws nothing."""
    if not settings.comfyui_url:
        remedy = "Only for a ComfyUI of yours: set IMAGEMILL_COMFYUI_URL (docs/comfyui.md)."
        return Finding("note", "comfyui", "not configured", remedy)
    from imagemill.providers.comfyui import ComfyUIProvider, load_workflow

    workflow = load_workflow(settings.comfyui_workflow, checkpoint=settings.comfyui_checkpoint)
    provider = ComfyUIProvider(workflow, base_url=settings.comfyui_url)
    version = asyncio.run(provider.version())
    return Finding(
        "ok", "comfyui", f"{version} at {provider.base_url}, draws with {workflow.model}"
    )


def _cut_outs(settings: Settings) -> Finding:
    if u2netp_installed(settings):
        return Finding("ok", "cut-outs", f"plain grounds and u2netp ({settings.segmenter_weights})")
    remedy = "`make setup-cutout` adds u2netp for busy grounds (27 MB, once)."
    return Finding("note", "cut-outs", "plain grounds only", remedy)


def _services(settings: Settings) -> list[Finding]:
    found = []
    for row in status(settings):
        good = row.state in {"running", "external"}
        starts = "`imagemill up` starts it." if row.name == "worker" else "Any command starts it."
        remedy = row.note or ("" if good else starts)
        text = f"{row.state} {row.url or row.device}"
        found.append(Finding("ok" if good else "note", row.name, text, remedy))
    return found


def _deployments(url: str) -> Finding:
    waiting = asyncio.run(waiting_for_a_worker(url))
    for_gpu = asyncio.run(waiting_for_a_worker(url, GPU_POOL))
    if waiting:
        found = f"{_some(waiting, 'run')} of a deployment waiting for a worker"
        return Finding("note", "deployments", found, "`imagemill up` runs one; keep it running.")
    if for_gpu:
        found = f"{_some(for_gpu, 'run')} of a deployment waiting for a GPU worker"
        remedy = (
            "They wait for a GPU that is busy, or for `imagemill up --gpu`, which runs workers."
        )
        return Finding("note", "deployments", found, remedy)
    return Finding("ok", "deployments", "no run waits for a worker")


def _left_behind(settings: Settings) -> Finding:
    left = asyncio.run(find_leftovers(settings))
    parts = [
        _some(len(left.reservations), "open reservation") + f" (${left.reserved_usd})",
        _some(len(left.runs), "run marked running", "runs marked running"),
        *(f"{_some(limit.slots, 'slot')} of {limit.name}" for limit in left.limits),
    ]
    parts = [part for part in parts if not part.startswith("0 ")]
    if not parts:
        return Finding("ok", "left behind", "nothing by dead processes")
    remedy = "`imagemill doctor --free` settles and frees them."
    found = ", ".join(parts) + "; nobody alive is there"
    return Finding("note", "left behind", found, remedy)


def _some(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"
