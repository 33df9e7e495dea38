"""An order of assets at the door: said in the house's words, nothing echoed, nothing lying on another."""

from decimal import Decimal

import pytest

from imagemill.asset.order import AssetOrder, checked_order
from imagemill.asset.planning import benches_of
from imagemill.errors import RequestError, UnsupportedRequest
from imagemill.ordering import Order, nearest_ratio, planned, size_for
from tests.asset.builders import CANARY, asset, guide
from tests.unit.small_workshop import ScriptedProvider

LIMITS = ScriptedProvider(prompt_limit_chars=9_000).capabilities()


def order(*requests, look=None, **fields) -> AssetOrder:
    return checked_order(list(requests or (asset(),)), look or guide(), **fields)


REFUSED = [
    ({"requests": []}, "at least one asset"),
    ({"requests": None}, "at least one asset"),
    ({"requests": [asset(), asset(name="b")]}, "requests[1] has the id"),
    ({"requests": [asset(), asset(id="b", name="Player_Idle")]}, "category and name"),
    ({"requests": [asset(name="a.PNG")]}, "name goes without .png"),
    ({"target_score": 101}, "target_score"),
    ({"max_iterations": 0}, "max_iterations"),
    ({"max_concurrent": CANARY}, "max_concurrent"),
    ({"max_cost_usd": -1}, "max_cost_usd"),
    ({"output_dir": ""}, "output_dir"),
    ({"point_worth_usd": "much"}, "point_worth_usd"),
]


@pytest.mark.parametrize(("fields", "told"), REFUSED)
def test_what_is_wrong_is_named(fields, told):
    """By field or place, in one message, without what was given."""
    given = {"requests": [asset()], "style_guide": guide(), **fields}
    with pytest.raises(RequestError) as caught:
        checked_order(**given)
    assert told in str(caught.value)
    assert CANARY not in str(caught.value)


def test_the_digest_is_of_what_decides_the_pictures():
    """A crashed order goes on under other limits; another target is another order."""
    plain = order()
    for same in ({"max_concurrent": 9}, {"max_cost_usd": 1}, {"output_dir": "x"},
                 {"keep_intermediate": True}, {"reuse_within_s": 0}):  # fmt: skip
        assert order(**same).digest == plain.digest
    for other in ({"target_score": 80}, {"judge": "pixels"}, {"seed": 1}, {"max_iterations": 2}):
        assert order(**other).digest != plain.digest


def test_the_documents_numbers_are_the_defaults():
    """90, 5, 3, 15 minutes, generated-assets."""
    plain = order()
    assert (plain.target_score, plain.max_iterations, plain.max_concurrent) == (90, 5, 3)
    assert (plain.reuse_within_s, plain.output_dir) == (900, "generated-assets")
    assert plain.batch().max_cost_usd is None
    assert order(max_cost_usd=2).batch().max_cost_usd == Decimal(2)


def test_wording_that_cannot_be_made_is_refused_before_anything_is_paid():
    """An art style without template, parameters that do not fit."""
    with pytest.raises(UnsupportedRequest, match="no prompt template"):
        benches_of(order(look=guide(artStyle="cubism")), LIMITS)
    with pytest.raises(UnsupportedRequest, match="do not fit"):
        benches_of(order(asset(parameters={"palette_size": "many"})), LIMITS)


def test_twins_begin_behind_each_others_samples():
    """The same words twice are different pictures, whatever their turn."""
    one, two = benches_of(order(asset(), asset(id="b", name="b")), LIMITS)
    assert (one.twins, two.twins) == (0, 1)
    assert two.next_sample(two.wording.prompt, 5) == 5


SIZES = {"256": Decimal(1), "512": Decimal(2), "1K": Decimal(3), "4K": None}


@pytest.mark.parametrize(("side", "size"), [(8, "256"), (256, "256"), (257, "512"), (2000, "1K")])
def test_the_smallest_size_that_is_large_enough_is_asked_for(side, size):
    """Never one without a price."""
    capable = LIMITS.model_copy(update={"sizes": SIZES})
    assert size_for(side, capable) == size


def test_an_order_becomes_what_each_model_takes():
    """Ratio, seed and negative prompt: as far as it goes."""
    wanted = Order(prompt="a fox", negative_prompt="blur", aspect_ratio="4:3", seed=7, sample=2)
    plain = planned(wanted, LIMITS)
    assert (plain.aspect_ratio, plain.seed, plain.negative_prompt) == ("1:1", 9, "")
    assert plain.prompt.endswith("Avoid: blur")
    able = LIMITS.model_copy(update={"negative_prompt": True, "seed": False})
    assert (planned(wanted, able).negative_prompt, planned(wanted, able).seed) == ("blur", None)
    assert nearest_ratio("1:8", ("1:1", "1:4", "4:1")) == "1:4"
    with pytest.raises(UnsupportedRequest):
        planned(wanted, LIMITS, references=["ab" * 32])
