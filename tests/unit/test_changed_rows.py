"""Of ten thousand rows three were changed: the provider is asked for exactly three images."""

import asyncio

import pytest

from imagemill.artifact import ArtifactRef, digest_of
from imagemill.ledger import Granted, open_ledger
from imagemill.ledger.values import Payment
from imagemill.making import make_image
from imagemill.providers.gemini import GeminiProvider
from tests.builders import ask
from tests.unit.small_workshop import PRICE, MemoryStore, small_workshop
from tests.wire.gemini import FakeGemini
from tests.wire.pixels import png

ROWS, CHANGED = 10_000, (17, 4_711, 9_999)
PICTURE = png(b"paid yesterday", width_px=16, height_px=16)


async def in_window(work, count, *, at_once=100):
    window = asyncio.Semaphore(at_once)

    async def one(index):
        async with window:
            return await work(index)

    return await asyncio.gather(*(one(index) for index in range(count)))


@pytest.mark.timeout(300)
async def test_three_changed_rows_of_ten_thousand_are_three_requests(tmp_path):
    """What is paid is found by its key, whatever batch it belonged to; the rest is asked for."""
    rows = [f"picture number {n}" for n in range(ROWS)]
    artifact = ArtifactRef(
        digest=digest_of(PICTURE), size_bytes=len(PICTURE), width_px=16, height_px=16
    )
    store = MemoryStore()
    store.objects[artifact.key] = PICTURE
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    with FakeGemini() as fake:
        provider = GeminiProvider(api_key="k", base_url=fake.url)
        settings = {"provider": provider, "store": store, "max_concurrent": 8}
        before = await small_workshop(ledger, tmp_path, prompts=tuple(rows), **settings)

        async def paid_before(index):
            request = before.requests[index]
            granted = await ledger.reserve(
                ask(key=request.key, provider="gemini", model=request.model)
            )
            assert isinstance(granted, Granted)
            await ledger.paid(
                granted.reservation_id, Payment(artifact=artifact, cost_usd=PRICE, seconds=1.0)
            )

        await in_window(paid_before, ROWS)
        before.spool.adopt(artifact, PICTURE)
        for index in CHANGED:
            rows[index] = f"another picture {index}"
        after = await small_workshop(
            ledger, tmp_path, run_id="run-2", prompts=tuple(rows), **settings
        )
        results = await in_window(lambda index: make_image(after, index), ROWS)
        await provider.aclose()
        assert fake.stats.requests == len(CHANGED)
    assert [r.index for r in results if not r.reused] == list(CHANGED)
    assert all(r.success for r in results)
    ledger.close()
