"""Rows: a prompt may have settings of its own; what is wrong with one is said by its number."""

import pytest

from blocks.looks import open_looks
from blocks.settings import Settings
from flows.rows_form import ROW
from imagemill.artifact import digest_of
from imagemill.contact_sheet import contact_sheet
from imagemill.diffusion import DiffusionWish
from imagemill.errors import RequestError, UnsupportedRequest
from imagemill.ledger import open_ledger
from imagemill.looks import Terms
from imagemill.making import make_image
from imagemill.planning import checked_batch, plan
from imagemill.prompt import Style
from imagemill.publishing import result_of
from imagemill.request import BatchRequest
from imagemill.resuming import resumed_batch
from imagemill.rows import Row
from tests.builders import batch_request, image_result
from tests.unit.small_workshop import STYLE, ScriptedProvider, small_workshop
from tests.wire.pixels import png

CANARY = "xyzzy the canary sings"
INK = Style(name="Ink", description="", template="{prompt}, inked")
CAPABLE = ScriptedProvider(reference_images=2, diffusion=True).capabilities()


def planned(*prompts, own=(), capabilities=CAPABLE, **fields):
    return plan(checked_batch(prompts=list(prompts), **fields), STYLE, capabilities, own=own)


def test_words_alone_are_the_batch_they_always_were():
    """Its digest and its record in the ledger say nothing of rows."""
    plain = batch_request(prompts=("a fox", "a whale"))
    rows = checked_batch(prompts=["a fox", {"prompt": "a whale", "seed": None, "style_name": ""}],
                         provider="sketch")  # fmt: skip
    assert rows == plain
    assert rows.digest == plain.digest
    assert "rows" not in plain.model_dump_json()


def test_what_a_row_says_goes_before_the_batch():
    """Field by field; a seed of 0 is a seed."""
    fox, whale, tree = planned(
        "a fox",
        {"prompt": "a whale", "seed": 0, "aspect_ratio": "16:9", "negative_prompt": "people"},
        {"prompt": "a tree", "size": "256"},
        seed=7, negative_prompt="blur", size="256",
    )  # fmt: skip
    assert (fox.seed, whale.seed, tree.seed) == (7, 0, 7)
    assert (fox.aspect_ratio, whale.aspect_ratio, tree.aspect_ratio) == ("1:1", "16:9", "1:1")
    assert (fox.negative_prompt, whale.negative_prompt) == ("blur", "people")


def test_a_wish_of_a_row_is_laid_over_the_batchs():
    """Settings that it leaves open are the batch's; each sample has its own place."""
    batch = checked_batch(
        prompts=["a", {"prompt": "b", "diffusion": {"steps": 9}}], samples=2,
        diffusion={"steps": 30, "guidance": 4},
    )  # fmt: skip
    common = DiffusionWish(steps=30, guidance=4)
    assert batch.wishes == (common, common, *[DiffusionWish(steps=9, guidance=4)] * 2)


def test_a_wish_without_a_setting_is_none():
    """The form sends an empty object where nobody filled it in."""
    incapable = CAPABLE.model_copy(update={"diffusion": False})
    rows = [{"prompt": "a", "diffusion": {}}, {"prompt": "b", "diffusion": {"steps": None}}]
    assert len(planned(*rows, capabilities=incapable)) == 2
    with pytest.raises(UnsupportedRequest, match=r"prompt 2: .*no diffusion settings.*sdxl"):
        planned("a", {"prompt": "b", "diffusion": {"steps": 3}}, capabilities=incapable)


def test_equal_requests_are_several_pictures_and_others_are_not():
    """The same words in another style or with another seed are no second sample."""
    alike = {"prompt": "a fox", "seed": 7}
    rows = ["a fox", alike, {"prompt": "a fox", "seed": 8}, alike, "a fox"]
    own = [Terms(style, CAPABLE) for style in (STYLE, STYLE, STYLE, STYLE, INK)]
    requests = planned(*rows, own=own)
    assert [r.sample for r in requests] == [0, 0, 0, 1, 0]
    assert [r.seed for r in requests] == [None, 7, 8, 8, None]
    assert len({r.key for r in requests}) == 5


def test_a_model_that_cannot_do_what_a_row_asks_is_refused_by_its_number():
    """What is allowed is said; nothing of the prompt."""
    with pytest.raises(UnsupportedRequest, match=r"^prompt 2: .*aspect ratios.*got 4:5") as refused:
        planned("a fox", {"prompt": CANARY, "aspect_ratio": "4:5"})
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "prompt 2: it is empty"),
        ({"seed": 3}, "prompt 2: it is empty"),
        ({"prompt": 7}, "prompt 2: .*string"),
        ({"prompt": CANARY, "seed": -1}, "prompt 2 seed: .*0"),
        ({"prompt": CANARY, "seed": CANARY}, "prompt 2 seed: .*integer"),
        ({"prompt": CANARY, "aspect_ratio": "7:5"}, "prompt 2: aspect_ratio is one of 1:1"),
        ({"prompt": CANARY, "size": "huge"}, "prompt 2: size is one of 256"),
        ({"prompt": CANARY, "style_name": 7}, "prompt 2 style_name: .*string"),
        ({"prompt": CANARY, "references": CANARY}, "prompt 2 references: "),
        ({"prompt": CANARY, "colour": "red"}, "prompt 2 colour: Extra inputs"),
        ({"prompt": CANARY, CANARY: "red"}, "prompt 2 .no field.: Extra inputs"),
        ({"prompt": CANARY, "diffusion": {"steps": 0}}, "prompt 2 diffusion steps: .*1"),
        ({"prompt": CANARY, "diffusion": {"sampler": CANARY}}, "prompt 2 diffusion sampler: "),
        ({"prompt": CANARY, "diffusion": CANARY}, "prompt 2 diffusion: "),
    ],
)
def test_a_row_that_cannot_be_made_is_named_with_its_field(row, said):
    """Never with its words, nor with a field that may be words in the wrong place."""
    with pytest.raises(RequestError, match=said) as refused:
        checked_batch(prompts=[{"prompt": CANARY, "seed": 1}, row])
    error = refused.value
    while error is not None:
        assert CANARY not in repr(error)
        error = error.__cause__ or error.__context__


def test_rows_are_none_or_as_many_as_prompts():
    """A batch read from elsewhere cannot give a prompt its neighbour's settings."""
    with pytest.raises(RequestError, match="as many as prompts"):
        checked_batch(prompts=["a", "b"], rows=[{"seed": 1}])


def test_a_batch_with_rows_is_gone_on_with_as_it_was_asked_for():
    """Resume and retry read it from the ledger; its digest is its own, and not that of its words."""
    asked = checked_batch(
        prompts=["a fox", {"prompt": "a whale", "seed": 0, "references": ["a.png"],
                           "diffusion": {"loras": ["ink:0.8"]}}],
    )  # fmt: skip
    assert BatchRequest.model_validate_json(asked.model_dump_json()) == asked

    class Earlier:
        id, request = "run-1", asked.model_dump_json()

    assert resumed_batch(Earlier()) == asked
    assert asked.digest != checked_batch(prompts=["a fox", "a whale"]).digest
    assert CANARY not in repr(checked_batch(prompts=[{"prompt": "x", "negative_prompt": CANARY}]))


async def test_looks_are_found_before_anything_is_paid(tmp_path):
    """An unknown style and a file that may not be read are told with the row's number."""
    settings = Settings(home=tmp_path, reference_roots=str(tmp_path))
    (tmp_path / "a.png").write_bytes(png(b"a", width_px=40, height_px=40))
    guided = {"prompt": "b", "references": [str(tmp_path / "a.png")], "style_name": "watercolor"}
    looks = await open_looks(checked_batch(prompts=["a", guided, guided]), settings)
    assert [look.style.name for look in looks.own] == ["Flat Corporate", "Watercolor", "Watercolor"]
    assert looks.own[1].references == looks.own[2].references != looks.common.references == ()
    guides = looks.guides(2)
    assert sorted(guides) == [2, 3, 4, 5]
    assert digest_of(guides[2][0]) == looks.own[1].digests[0]
    for row, said in (
        ({"style_name": "Nonesuch"}, "^prompt 12 style_name: .*Nonesuch"),
        ({"references": ["/etc/passwd"]}, "^prompt 12 references: .*may be read"),
    ):
        batch = checked_batch(prompts=["a"] * 11 + [{"prompt": CANARY, **row}])
        with pytest.raises(RequestError, match=said):
            await open_looks(batch, settings)


async def test_the_pages_name_the_styles_that_rows_differ_in(tmp_path):
    """Below each picture, and as heading; a batch of one style says it once."""
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    shop = await small_workshop(
        ledger, tmp_path, prompts=tuple("abcde"), rows=tuple(Row(seed=n) for n in range(5))
    )
    (route,) = shop.routes
    names = ["Plain", "Ink", "Plain", "Clay", "Neon"]
    route.requests = [
        request.model_copy(update={"style": name})
        for request, name in zip(route.requests, names, strict=True)
    ]
    assert (await make_image(shop, 1)).style_name == "Ink"
    result = await result_of(shop)
    assert result.style_name == "Plain, Ink, Clay, 1 more"
    assert result.results[0].to_json()["style_name"] == "Ink"
    ledger.close()


def test_a_caption_names_the_style_of_its_picture(tmp_path):
    """The style is drawn beside the prompt."""
    (tmp_path / "a.png").write_bytes(png(b"a", width_px=40, height_px=40))
    plain = image_result(local_path=str(tmp_path / "a.png"))
    inked = plain.model_copy(update={"style_name": "Ink"})
    assert contact_sheet([plain], title="T") != contact_sheet([inked], title="T")


def test_the_form_offers_every_field_of_a_row():
    """A field added to a row is added to the form."""
    assert set(ROW) == {"prompt", *Row.model_fields}
    assert set(ROW["diffusion"]["properties"]) == set(DiffusionWish.model_fields)
