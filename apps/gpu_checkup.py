"""`imagemill doctor` on local SDXL: libraries, GPUs, models folder, the styles' checkpoints, configs.

torch is not imported, and of the weights only headers are read.
"""

import asyncio
from importlib.metadata import version
from pathlib import Path

from apps.finding import Finding, guarded
from apps.services.gpus import CPU, libraries_installed, visible_gpus
from blocks.settings import Settings
from imagemill.errors import ProviderMisconfigured, UnsupportedRequest
from imagemill.prompt import shelf
from imagemill.providers.sdxl.discovery import models_in
from imagemill.providers.sdxl.files import check_checkpoint

WHERE = "docs/sdxl.md says which files the styles want."


def sdxl_findings(settings: Settings) -> list[Finding]:
    """Look at what drawing on this machine's GPU needs; one quiet row where nobody set it up."""
    if not settings.sdxl_models:
        remedy = "Only for a GPU of yours: set IMAGEMILL_SDXL_MODELS (docs/sdxl.md)."
        return [Finding("note", "local sdxl", "not configured", remedy)]
    checks = [
        ("sdxl libraries", _libraries),
        ("gpu", _gpus),
        ("sdxl models", _models),
        ("sdxl styles", _styles),
        ("sdxl config", _config),
    ]
    return [guarded(what, check, settings) for what, check in checks]


def sdxl_lacks(settings: Settings, prefect_url: str) -> ProviderMisconfigured | None:
    """Return why GPU workers have nothing to draw with, if so: no models folder, and no saved block.

    Args:
        settings: Where the models folder is, if anywhere.
        prefect_url: The server that may hold a Local SDXL block.
    """
    if not settings.sdxl_models:
        return asyncio.run(_lack_without_a_block(settings, prefect_url))
    try:
        models_in(Path(settings.sdxl_models).expanduser())
    except ProviderMisconfigured as lack:
        return lack
    return None


async def _lack_without_a_block(settings: Settings, url: str) -> ProviderMisconfigured | None:
    import httpx
    from prefect.client.orchestration import get_client

    from apps.prefect_server import speaking_to
    from blocks.local_sdxl import LocalSDXL

    try:
        with speaking_to(url):
            async with get_client() as client:
                if await client.read_block_documents_by_type(LocalSDXL.get_block_type_slug()):
                    return None
    except httpx.HTTPError:
        pass  # the server was just there; a warning too many is the smaller harm
    try:
        LocalSDXL().options(settings)
    except ProviderMisconfigured as lack:
        return lack
    return None


def _libraries(_settings: Settings) -> Finding:
    if not libraries_installed():
        raise ProviderMisconfigured("not installed", remedy="`make setup-gpu` adds them.")
    found = f"torch {version('torch')}, diffusers {version('diffusers')}"
    return Finding("ok", "sdxl libraries", found)


def _gpus(settings: Settings) -> Finding:
    gpus = visible_gpus(settings.sdxl_device)
    if gpus == (CPU,):
        remedy = "Unset IMAGEMILL_SDXL_DEVICE to draw on a GPU."
        return Finding("note", "gpu", "the CPU, for trying", remedy)
    found = "; ".join(f"{gpu.number}: {gpu.name}" for gpu in gpus)
    if libraries_installed() and "+cpu" in version("torch"):
        remedy = "Install torch's CUDA build into this environment (pytorch.org says how)."
        return Finding("bad", "gpu", f"{found}; but this torch is the CPU build", remedy)
    return Finding("ok", "gpu", found)


def _models(settings: Settings) -> Finding:
    found = models_in(Path(settings.sdxl_models).expanduser())
    parts = [
        _some(len(found.checkpoints), "checkpoint"),
        f"VAE {found.vae.name}" if found.vae else "no shared VAE",
        f"ControlNet {', '.join(found.controls)}" if found.controls else "no ControlNet",
        _some(len(found.loras), "LoRA"),
    ]
    if found.vae is None:
        remedy = "Put sdxl-vae-fp16-fix into vae/; without it each checkpoint's own is used."
        return Finding("note", "sdxl models", ", ".join(parts), remedy)
    return Finding("ok", "sdxl models", ", ".join(parts))


def _styles(settings: Settings) -> Finding:
    from blocks.local_sdxl import LocalSDXL  # it brings Prefect (2 s)

    options = LocalSDXL.from_settings(settings).options(settings)
    found, missing = [], []
    for style in shelf(settings.styles_dir).values():
        if not style.checkpoint:
            continue
        try:
            model = options.named(style.checkpoint)
        except UnsupportedRequest:
            missing.append(f"{style.name} ({style.checkpoint}…)")
            continue
        file = options.checkpoints[model].file
        check_checkpoint(file, options.config, own_vae=options.vae is None)
        found.append(f"{style.name}: {model}")
    if missing:
        remedy = f"Put the files into checkpoints/. {WHERE}"
        return Finding("note", "sdxl styles", f"missing for {', '.join(missing)}", remedy)
    return Finding("ok", "sdxl styles", "; ".join(found))


def _config(settings: Settings) -> Finding:
    folder = settings.sdxl_config_folder
    if not (folder / "model_index.json").is_file():
        remedy = "`make setup-gpu` makes one, or set IMAGEMILL_SDXL_CONFIG to a folder with them."
        return Finding("bad", "sdxl config", f"no model_index.json in {folder}", remedy)
    return Finding("ok", "sdxl config", str(folder))


def _some(count: int, one: str) -> str:
    return f"{count} {one if count == 1 else one + 's'}"
