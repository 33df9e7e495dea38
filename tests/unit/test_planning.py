"""A batch becomes one checked request an image, or an error that says what to change; no prompt in it."""

import pytest

from imagemill.errors import RequestError, UnsupportedRequest
from imagemill.planning import checked_batch, plan
from imagemill.prompt import Style
from tests.builders import batch_request
from tests.unit.small_workshop import STYLE, ScriptedProvider

CANARY = "xyzzy the canary sings"
CAPABLE = ScriptedProvider().capabilities()


def planned(style=STYLE, capabilities=CAPABLE, **changes):
    return plan(batch_request(**changes), style, capabilities)


def test_the_same_words_given_twice_are_two_pictures():
    """Duplicates take the next sample, so each has a key of its own; input order is kept."""
    requests = planned(prompts=("a fox", "a whale", "a fox"))
    assert [(r.subject, r.sample) for r in requests] == [("a fox", 0), ("a whale", 0), ("a fox", 1)]
    assert len({r.key for r in requests}) == 3


def test_samples_stand_side_by_side():
    """Two of each, prompt by prompt."""
    requests = planned(prompts=("a fox", "a whale"), samples=2)
    assert [(r.subject, r.sample) for r in requests] == [
        ("a fox", 0), ("a fox", 1), ("a whale", 0), ("a whale", 1),
    ]  # fmt: skip


def test_a_seed_is_raised_by_the_sample():
    """Samples differ and can be made again; the largest seed wraps around."""
    assert [r.seed for r in planned(prompts=("a fox",), samples=3, seed=7)] == [7, 8, 9]
    assert [r.seed for r in planned(prompts=("a fox",), samples=2, seed=2**31 - 1)] == [
        2**31 - 1, 0,
    ]  # fmt: skip
    assert [r.seed for r in planned(prompts=("a fox",), samples=2)] == [None, None]


def test_what_the_images_should_not_show_is_the_askers_and_the_styles():
    """Both lists, the asker's first."""
    style = Style(name="S", description="", template="{prompt}, inked", negative_prompt="blur")
    request = planned(style, prompts=("a fox",), negative_prompt="people")[0]
    assert request.negative_prompt == "people, blur"
    assert request.prompt == "a fox, inked"


def test_a_seed_is_refused_where_the_model_takes_none():
    """Before anything is paid."""
    with pytest.raises(UnsupportedRequest, match="takes no seed"):
        planned(capabilities=CAPABLE.model_copy(update={"seed": False}), seed=1)


def test_a_prompt_over_the_models_limit_is_named_by_digest():
    """What was asked, what is allowed, what to do; not the words."""
    with pytest.raises(UnsupportedRequest, match=r"200 characters.*Shorten") as refused:
        planned(prompts=("a fox", f"{CANARY} " * 20))
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompts": []}, "the list is empty"),
        ({"prompts": None}, "prompts: "),
        ({"prompts": CANARY}, "list of strings"),
        ({"prompts": [CANARY, 7]}, "prompt 2: .*string"),
        ({"prompts": [CANARY, ["x"]]}, "prompt 2: .*string"),
        ({"prompts": [CANARY, "   "]}, "prompt 2: it is empty"),
        ({"prompts": [CANARY, "y" * 32_001]}, "prompt 2: .*at most 32000"),
        ({"prompts": [CANARY] * 10_001}, "at most 10000"),
        ({"prompts": {CANARY: 1}}, "prompts: "),
        ({"prompts": [CANARY], "max_concurrent": 0}, "max_concurrent: .*1"),
        ({"prompts": [CANARY], "max_concurrent": "many"}, "max_concurrent: .*integer"),
        ({"prompts": [CANARY], "aspect_ratio": "7:5"}, "aspect_ratio is one of 1:1"),
        ({"prompts": [CANARY], "size": "huge"}, "size is one of 256"),
        ({"prompts": [CANARY], "seed": -1}, "seed: "),
        ({"prompts": [CANARY], "samples": 17}, "samples: .*16"),
        ({"prompts": [CANARY], "safety": "none"}, "safety: "),
        ({"prompts": [CANARY], "negative_prompt": CANARY * 300}, "negative_prompt: .*4000"),
        ({"prompts": [CANARY], "style": "x"}, "style: Extra inputs"),
        ({"prompts": [CANARY], "diffusion": {CANARY: 1}}, "diffusion .no field.: Extra inputs"),
    ],
)
def test_a_batch_that_cannot_be_made_says_which_field_and_what_it_takes(fields, said):
    """Never with a prompt in the message or in the chain of causes."""
    with pytest.raises(RequestError, match=said) as refused:
        checked_batch(**fields)
    assert "Nothing was sent" in refused.value.remedy
    error = refused.value
    while error is not None:
        assert CANARY not in repr(error)
        error = error.__cause__ or error.__context__


def test_words_are_taken_as_they_are():
    """Braces, quotes, newlines and other scripts pass through; blanks around them go."""
    words = ('  {prompt} "quoted"\nsecond line ', "кит", "🦊")
    requests = planned(prompts=words)
    assert [r.subject for r in requests] == ['{prompt} "quoted"\nsecond line', "кит", "🦊"]


def test_reference_images_are_part_of_the_request():
    """Their digests decide the key."""
    capable = CAPABLE.model_copy(update={"reference_images": 1})
    batch = batch_request(prompts=("a fox",))
    plain, guided = (plan(batch, STYLE, capable, references=r)[0] for r in ((), ("ab" * 32,)))
    assert guided.references == ("ab" * 32,)
    assert plain.key != guided.key
    with pytest.raises(UnsupportedRequest, match="reference images"):
        plan(batch, STYLE, CAPABLE, references=("ab" * 32,))
