"""The end of a run: pages beside each other, the manifest last, the ledger's word on money."""

import json

import pytest

from imagemill.artifact import digest_of
from imagemill.errors import AnswerLost, StoreUnavailable
from imagemill.ledger import open_ledger
from imagemill.making import make_image
from imagemill.publishing import GALLERY, MANIFEST, SHEET, publish_run, result_of, run_state
from imagemill.request import BatchResult
from imagemill.results import failure_of
from tests.builders import image_result
from tests.unit.small_workshop import PRICE, WORST, small_workshop


@pytest.fixture
async def shop(tmp_path):
    """A run of three images: one made, one lost on the way, one never started."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    shop = await small_workshop(ledger, tmp_path / "home", None, AnswerLost("lost"))
    await make_image(shop, 0)
    with pytest.raises(AnswerLost) as lost:
        await make_image(shop, 1)
    await ledger.keep_item("run-1", failure_of(shop, 1, lost.value, attempts=1))
    await ledger.keep_item("run-1", failure_of(shop, 2, None, attempts=0))
    yield shop
    ledger.close()


async def test_the_pages_lie_in_the_store_and_on_this_machine(shop):
    """Contact sheet, gallery and manifest under the run's id; the same on disk."""
    result = await publish_run(shop)
    for name in (SHEET, GALLERY, MANIFEST):
        assert shop.store.objects[f"runs/run-1/{name}"]
        assert (shop.folder / name).is_file()
    assert result.manifest_url == f"memory:runs/run-1/{MANIFEST}"
    assert result.contact_sheet_path == str(shop.folder / SHEET)
    assert result.gallery_path == str(shop.folder / GALLERY)


async def test_the_manifest_goes_last_and_speaks_of_what_lies_there(shop):
    """Whoever finds a manifest finds everything in it, with the digest it names."""
    order = []
    put = shop.store.put_named

    async def noted(key, data, *, media_type):
        order.append((key.rsplit("/", 1)[1], media_type))
        await put(key, data, media_type=media_type)

    shop.store.put_named = noted
    await publish_run(shop)
    assert order[-1] == (MANIFEST, "application/json")
    assert {name for name, _ in order} == {SHEET, GALLERY, MANIFEST}
    told = json.loads(shop.store.objects[f"runs/run-1/{MANIFEST}"])
    made = next(image for image in told["images"] if image["sha256"])
    key = f"{made['sha256'][:2]}/{made['sha256']}.png"
    assert digest_of(shop.store.objects[key]) == made["sha256"]


async def test_spent_is_what_the_ledger_says(shop):
    """One paid, one ambiguous at its reserved price, one never started."""
    result = await result_of(shop)
    assert result.cost_usd == PRICE + WORST
    assert [image.status for image in result.results] == ["made", "ambiguous", "not_started"]
    assert (result.total, result.success_count, result.ambiguous_count) == (3, 1, 1)


async def test_a_store_that_is_away_is_told_upwards(shop):
    """The task around retries; images are not touched."""
    error = StoreUnavailable("away")

    async def away(*_args, **_kwargs):
        raise error

    shop.store.put_named = away
    with pytest.raises(StoreUnavailable):
        await publish_run(shop)


@pytest.mark.parametrize(
    ("good", "bad", "state"),
    [(2, 0, "completed"), (1, 1, "completed_with_failures"), (0, 2, "failed")],
)
def test_a_run_failed_only_when_nothing_succeeded(good, bad, state):
    """What the ledger and the webhook say of it."""
    results = (image_result(),) * good + (image_result(success=False, status="failed"),) * bad
    assert run_state(BatchResult.of("r", results)) == state
