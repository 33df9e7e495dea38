"""What a provider adds to a run before it is paid: models by style, how it draws, in which order."""

from contextlib import AsyncExitStack
from decimal import Decimal

import pytest

from blocks import routes as routes_of_blocks
from blocks.routes import open_routes
from blocks.settings import Settings
from imagemill.completing import asking_order, completed
from imagemill.diffusion import Diffusion, DiffusionWish
from imagemill.errors import ProviderMisconfigured, UnsupportedRequest
from imagemill.ledger import open_ledger
from imagemill.looks import Look, Looks
from imagemill.making import make_image
from imagemill.ordering import Order, ordered
from imagemill.planning import checked_batch
from imagemill.prompt import Style
from imagemill.providers.base import Completes, DrawsByStyle, Ordered
from imagemill.report import manifest
from imagemill.request import BatchResult
from tests.unit.small_workshop import STYLE, ScriptedProvider, small_workshop

INK = Style(name="Ink", description="", template="{prompt}, inked", checkpoint="ink-xl")


class Checkpoints(ScriptedProvider):
    """A provider with a model a style, that fills in how it draws, and wants the last one first."""

    def __init__(self, *script, **more):
        super().__init__(*script, **{"diffusion": True, "batch_size": 4, **more})
        self.wishes = []

    def model_for(self, checkpoint):
        return checkpoint

    def completed(self, requests, wishes):
        self.wishes += wishes
        if any(wish and wish.control == "depth" for wish in wishes):
            raise ProviderMisconfigured("There is no depth model.")
        return [
            request.model_copy(update={"diffusion": Diffusion(
                steps=(wish.steps if wish else None) or 30, guidance=5, sampler="euler",
                bucket=4, weights={"checkpoint": "ab" * 32},
            )})
            for request, wish in zip(requests, wishes, strict=True)
        ]  # fmt: skip

    def order(self, requests):
        return range(len(requests) - 1, 0, -1)


@pytest.fixture
def ledger(tmp_path):
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


@pytest.fixture
def opened_with(monkeypatch, tmp_path):
    """Open the routes of a batch at one provider, as a run does."""

    async def opened(drawer, style=INK, **fields):
        async def load(_name, _settings):
            return drawer

        monkeypatch.setattr(routes_of_blocks, "load_provider", load)
        async with AsyncExitStack() as parts:
            settings = Settings(home=tmp_path)
            batch = checked_batch(**{"prompts": ["a fox"] * 3, "provider": "sketch", **fields})
            own = (Look(style if row.style_name != "Plain" else STYLE) for row in batch.settled)
            looks = Looks(Look(style), tuple(own) if batch.rows else ())
            return await open_routes(batch, looks, settings=settings, parts=parts)

    return opened


async def test_the_asked_style_chooses_the_checkpoint_unless_a_model_is_named(opened_with):
    """A style names its checkpoint; a provider without checkpoints draws all with its default."""
    (route,) = await opened_with(Checkpoints())
    assert (route.capabilities.model, {r.model for r in route.requests}) == ("ink-xl", {"ink-xl"})
    (route,) = await opened_with(Checkpoints(), model="other-xl")
    assert route.capabilities.model == "other-xl"
    (route,) = await opened_with(ScriptedProvider())
    assert route.capabilities.model == "scripted-1"


async def test_a_row_may_name_its_model_and_a_rows_style_its_checkpoint(opened_with):
    """Each request is planned by what its own model can do."""
    rows = [
        "a fox", {"prompt": "a whale", "style_name": "Plain"},
        {"prompt": "a tree", "style_name": "Plain", "model": "other-xl"},
    ]  # fmt: skip
    (route,) = await opened_with(Checkpoints(), prompts=rows)
    assert [r.model for r in route.requests] == ["ink-xl", "scripted-1", "other-xl"]
    assert [route.capabilities_of(n).model for n in range(3)] == [
        "ink-xl", "scripted-1", "other-xl",
    ]  # fmt: skip
    assert set(route.models) == {"ink-xl", "scripted-1", "other-xl"}


async def test_a_rows_model_is_the_first_providers(opened_with):
    """A fallback knows it by another name, if at all: it draws with its own."""
    rows = [{"prompt": "a fox", "model": "other-xl"}]
    first, second = await opened_with(
        Checkpoints(), prompts=rows, provider="sketch", fallback=("gemini:second-xl",)
    )
    assert first.requests[0].model == "other-xl"
    assert second.requests[0].model == "second-xl"


async def test_how_it_is_drawn_is_in_the_key_before_anything_is_paid(opened_with):
    """What the asker wishes and what the provider adds; samples each have their wish."""
    wish = DiffusionWish(steps=12)
    (plain,) = await opened_with(Checkpoints(), samples=2)
    (wished,) = await opened_with(provider := Checkpoints(), samples=2, diffusion=wish)
    assert {r.diffusion.steps for r in wished.requests} == {12}
    assert provider.wishes == [wish] * 6
    assert not {r.key for r in plain.requests} & {r.key for r in wished.requests}


async def test_what_a_provider_cannot_do_is_said_at_the_door(opened_with):
    """A wish to one that does not diffuse, and a file that is missing."""
    with pytest.raises(UnsupportedRequest, match=r"takes no diffusion settings.*sdxl"):
        await opened_with(ScriptedProvider(), diffusion=DiffusionWish(steps=12))
    with pytest.raises(ProviderMisconfigured, match="depth"):
        await opened_with(Checkpoints(), diffusion=DiffusionWish(control="depth"))


async def test_an_image_that_is_thought_of_later_is_completed_too(ledger, tmp_path):
    """Assets are ordered one by one; their keys say as much."""
    shop = await small_workshop(ledger, tmp_path, provider=Checkpoints())
    index = ordered(shop, Order(prompt="an axe"))
    assert shop.requests[index].diffusion.steps == 30


async def test_each_image_is_asked_once_in_the_order_its_provider_likes(ledger, tmp_path):
    """What that order leaves out comes last; without one it is the order of the prompts."""
    shop = await small_workshop(ledger, tmp_path, provider=Checkpoints())
    assert list(asking_order(shop.provider, shop.requests)) == [2, 1, 0]
    assert list(asking_order(ScriptedProvider(), shop.requests)) == [0, 1, 2]
    assert not isinstance(ScriptedProvider(), Completes | Ordered | DrawsByStyle)
    assert completed(ScriptedProvider(), shop.requests, [None] * 3) == tuple(shop.requests)


async def test_max_concurrent_counts_calls_and_each_route_keeps_to_its_own(ledger, tmp_path):
    """Four images a call, two calls at once: eight on the wire; the fallback gets its two."""
    hosted = ScriptedProvider(name="hosted")
    shop = await small_workshop(
        ledger, tmp_path, provider=Checkpoints(), others=(hosted,), max_concurrent=2
    )
    local, fallback = (route.id for route in shop.routes)
    assert (shop.places, shop.slots._value) == (8, 8)
    assert (shop.lanes[local]._value, shop.lanes[fallback]._value) == (8, 2)
    shop.lower_to(1)
    assert (shop.slots._value, shop.lanes[local]._value, shop.lanes[fallback]._value) == (4, 4, 1)


async def test_a_providers_facts_reach_the_manifest_of_new_images(ledger, tmp_path):
    """Its timings, kept in the ledger with the result; an image made before has none to tell."""
    provider = Checkpoints(facts={"generate_s": 0.5, "node": "canny"})
    shop = await small_workshop(ledger, tmp_path, provider=provider, reuse_within_s=60)
    await make_image(shop, 0)
    (kept,) = await ledger.items("run-1")
    assert kept.facts == {"generate_s": 0.5, "node": "canny"}
    (entry,) = manifest(BatchResult.of("run-1", (kept,)), shop.requests)["images"]
    assert entry["facts"] == kept.facts
    assert entry["request"]["diffusion"]["bucket"] == 4
    again = await small_workshop(
        ledger, tmp_path, provider=provider, reuse_within_s=60, run_id="run-2"
    )
    reused = await make_image(again, 0)
    assert (reused.status, reused.facts) == ("reused", {})


async def test_one_run_may_ask_several_models_of_a_provider(ledger, tmp_path):
    """Each image is held for, and priced, by the model that it is asked of."""
    dear = ScriptedProvider(sizes={"256": Decimal("0.40")}).capabilities("dear")
    shop = await small_workshop(ledger, tmp_path, provider=ScriptedProvider())
    (route,) = shop.routes
    route.models = {"dear": dear}
    route.requests = [route.requests[0], route.requests[1].model_copy(update={"model": "dear"})]
    assert [route.worst_case_usd(n) for n in (0, 1)] == [Decimal("0.05"), Decimal("0.40")]
    assert [route.capabilities_of(n).model for n in (0, 1)] == ["scripted-1", "dear"]
    assert (await make_image(shop, 1)).model == "dear"
