"""Images that are thought of on the way, each with references of its own, through the whole workshop."""

import pytest

from imagemill.artifact import digest_of
from imagemill.errors import UnsupportedRequest
from imagemill.ledger import open_ledger
from imagemill.making import is_paid, make_image
from imagemill.ordering import Order, ordered
from tests.unit.small_workshop import ScriptedProvider, small_workshop
from tests.wire.pixels import png


class Guided(ScriptedProvider):
    """Remembers what it was guided by."""

    def __init__(self, **capabilities):
        super().__init__(reference_images=2, prompt_limit_chars=2_000, **capabilities)
        self.guides = []

    async def generate(self, request, references=()):
        self.guides.append(tuple(references))
        return await super().generate(request, references)


@pytest.fixture
def ledger(tmp_path):
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


async def test_an_image_is_added_and_made_like_any_other(ledger, tmp_path):
    """It gets the next number; the batch's own images are as they were; it is paid once."""
    guided = Guided()
    shop = await small_workshop(ledger, tmp_path, provider=guided)
    first = png(b"first frame", width_px=16, height_px=16)
    index = ordered(shop, Order(prompt="the second frame"), references=[first])
    assert (index, len(shop.requests)) == (3, 4)
    assert shop.requests[index].references == (digest_of(first),)
    assert not await is_paid(shop, index)
    result = await make_image(shop, index)
    await make_image(shop, 0)
    assert guided.guides == [(first,), ()]
    assert await is_paid(shop, index)
    again = await make_image(shop, index)
    assert (again.sha256, len(guided.calls)) == (result.sha256, 2)
    assert {item.index for item in await ledger.items("run-1")} == {0, 3}


async def test_another_reference_is_another_image(ledger, tmp_path):
    """The digests of what guides it are in its key."""
    shop = await small_workshop(ledger, tmp_path, provider=Guided())
    frames = [png(bytes([n]), width_px=16, height_px=16) for n in range(2)]
    one, two = (ordered(shop, Order(prompt="frame"), references=[frame]) for frame in frames)
    assert shop.requests[one].key != shop.requests[two].key


async def test_every_route_plans_it_or_nobody_does(ledger, tmp_path):
    """A fallback that takes no references refuses before anything is added."""
    shop = await small_workshop(
        ledger, tmp_path, provider=Guided(), others=[ScriptedProvider(name="other")],
        fallback=("other",),
    )  # fmt: skip
    index = ordered(shop, Order(prompt="plain"))
    assert [len(route.requests) for route in shop.routes] == [4, 4]
    assert shop.routes[1].requests[index].provider == "other"
    with pytest.raises(UnsupportedRequest, match="reference images"):
        ordered(shop, Order(prompt="frame"), references=[b"frame"])
    assert [len(route.requests) for route in shop.routes] == [4, 4]
