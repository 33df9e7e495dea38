"""An animation as files: `category/name_sheet.png` with its atlas, and `category/name.gif`."""

import asyncio
from pathlib import Path

from imagemill.animation.gif import gif_preview
from imagemill.animation.making import Animated
from imagemill.animation.order import AnimationRequest
from imagemill.animation.result import AnimationResult, RedoneFrame
from imagemill.animation.sheet import FrameTag, sprite_sheet
from imagemill.asset.studio import Studio
from imagemill.spool import write_durably


async def hand_out_animation(
    studio: Studio, request: AnimationRequest, found: Animated, frame_ids: tuple[str, ...]
) -> AnimationResult:
    """Write sheet, atlas and GIF into the asker's folder and the store; returns the result.

    Raises:
        StoreError: the store did not take them; the files are in the folder.
    """
    asset, shop = request.asset, studio.shop
    files = await asyncio.to_thread(_files, request, found)
    folder = studio.output_dir / asset.category
    for name, (data, kind) in files.items():
        await asyncio.to_thread(write_durably, folder / name, data)
        key = f"runs/{shop.run.id}/assets/{asset.category}/{name}"
        async with shop.uploads:
            await shop.store.put_named(key, data, media_type=kind)
    sheet, atlas, gif = (str(Path(folder / name)) for name in files)
    return AnimationResult(
        name=asset.name, category=asset.category, status="success", frames=request.frames,
        frame_ms=request.frame_ms, frame_ids=frame_ids, referenced=studio.takes_references,
        drift=tuple(drift.score for drift in found.drifts), outliers=found.outliers,
        redone=tuple(
            RedoneFrame(frame=e.frame, why=e.why, attempts=e.attempts, held=e.held)
            for e in found.redone
        ),
        sheet_path=sheet, atlas_path=atlas, gif_path=gif,
    )  # fmt: skip


def _files(request: AnimationRequest, found: Animated) -> dict[str, tuple[bytes, str]]:
    name = request.asset.name
    tag = FrameTag(name, 0, request.frames - 1)
    sheet = sprite_sheet(
        found.pictures, name=f"{name}_sheet", durations_ms=request.frame_ms, tags=[tag]
    )
    gif = gif_preview(found.pictures, durations_ms=request.frame_ms)
    return {
        f"{name}_sheet.png": (sheet.png, "image/png"),
        f"{name}_sheet.json": (sheet.atlas_json, "application/json"),
        f"{name}.gif": (gif, "image/gif"),
    }
