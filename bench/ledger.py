"""What the ledger costs an image: 2,000 images on SQLite, and four processes on one file.

`python -m bench.ledger` prints its figures as JSON: the wall of reserve, pay and keep for each of
2,000 images, 20 at a time, in milliseconds an image; then 4 processes with 50 at a time each.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from imagemill.artifact import ArtifactRef
from imagemill.ledger import Ask, open_ledger
from imagemill.ledger.holder import holder
from imagemill.ledger.values import Payment
from imagemill.request import ImageResult

IMAGES = 2_000


async def book(url: str, tag: str, images: int, at_once: int) -> dict:
    """Book so many images as a run does; returns wall seconds and errors."""
    ledger = open_ledger(url)
    window = asyncio.Semaphore(at_once)
    me, errors = holder(), []

    async def one(n: int) -> None:
        key = f"{tag}{n:08x}".encode().hex().ljust(64, "0")[:64]
        async with window:
            try:
                granted = await ledger.reserve(Ask(
                    key=key, run_id=tag, lineage=tag, holder=me, provider="p", model="m",
                    worst_case_usd=Decimal("0.04"), deployment="nightly",
                ))  # fmt: skip
                artifact = ArtifactRef(digest=key, size_bytes=1, width_px=1, height_px=1)
                await ledger.paid(
                    granted.reservation_id, Payment(artifact=artifact, cost_usd=Decimal("0.03"))
                )
                result = ImageResult(
                    index=n, prompt="p", success=True, status="made", key=key, sha256=key
                )
                await ledger.keep_item(tag, result, store="s3://bucket")
            except Exception as error:
                errors.append(str(error))

    from imagemill.ledger import RunRow

    now = ledger.now()
    await ledger.begin_run(RunRow(
        id=tag, kind="batch", lineage=tag, batch_digest=tag, state="running", holder=me,
        created_at=now, heartbeat_at=now,
    ), max_cost_usd=Decimal(1_000))  # fmt: skip
    started = time.monotonic()
    await asyncio.gather(*(one(n) for n in range(images)))
    wall = time.monotonic() - started
    spent = (await ledger.money_of(tag)).spent_usd
    ledger.close()
    return {"wall_s": wall, "errors": errors[:3], "spent_usd": str(spent)}


def main() -> None:
    if len(sys.argv) > 1:
        url, tag, images, at_once = sys.argv[1:]
        print(json.dumps(asyncio.run(book(url, tag, int(images), int(at_once)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'ledger.db'}"
        alone = asyncio.run(book(url, "alone", IMAGES, 20))
        shared = f"sqlite:///{Path(folder) / 'shared.db'}"
        open_ledger(shared).close()
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.ledger", shared, f"p{n}", str(IMAGES // 4), "50"],
                stdout=subprocess.PIPE,
            )
            for n in range(4)
        ]
        four = [json.loads(process.communicate()[0]) for process in processes]
    print(json.dumps({
        "ms_an_image": alone["wall_s"] / IMAGES * 1e3,
        "errors": alone["errors"] + [error for one in four for error in one["errors"]],
        "four_processes_ms_an_image": max(one["wall_s"] for one in four) / IMAGES * 1e3,
        "spent_usd": [alone["spent_usd"], *(one["spent_usd"] for one in four)],
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
