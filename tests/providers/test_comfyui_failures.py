"""How ComfyUI fails: each kind is its own error, says what to do, and tells nothing of the prompt."""

import logging
import pickle
import traceback

import pytest

from imagemill.errors import (
    Billing,
    NoImage,
    ProviderError,
    ProviderMisconfigured,
    ProviderUnavailable,
    UnsupportedRequest,
)
from imagemill.providers.comfyui import failure
from imagemill.providers.comfyui.workflow import load_workflow
from tests.providers.comfy_graphs import node, panel
from tests.providers.test_comfyui import CANARY, asked
from tests.wire.comfy import RUN, SUBMIT

FAILURES = {
    "server_error": (ProviderUnavailable, "answered 500"),
    "drop": (ProviderUnavailable, "lost the image"),
    "forbidden": (ProviderMisconfigured, "403.*Origin"),
    "html": (ProviderMisconfigured, "no ComfyUI"),
    "not_found": (ProviderMisconfigured, "no ComfyUI .HTTP 404.*IMAGEMILL_COMFYUI_URL"),
    "interrupted": (ProviderUnavailable, "interrupted"),
    "node_error": (ProviderError, "node KSampler failed with Exception"),
    "out_of_memory": (ProviderError, "torch.OutOfMemoryError.*smaller size"),
    "lost": (ProviderUnavailable, "lost the image"),
    "restart": (ProviderUnavailable, "lost the image"),
    "gone": (ProviderUnavailable, "not there any more.*new name"),
    "no_picture": (NoImage, "has no picture"),
    "broken_picture": (ProviderUnavailable, "came broken"),
}
HARMLESS = {"drop_after", "gateway_taken", "old_server", "stall"}
"""Not failures by themselves: test_comfyui.py has them."""

REFUSED = {
    "unknown class": (panel() | {"1": node("NoSuchNode")}, "no node 'NoSuchNode'"),
    "steps": (panel(n3={"steps": 0}), "node 3 .KSampler.*'steps'.*value_smaller_than_min"),
    "missing": (panel(n3={"cfg": None}), "node 3.*'cfg'.*required_input_missing"),
    "sampler": (panel(n3={"scheduler": CANARY}), "'scheduler'.*value_not_in_list"),
    "checkpoint": (panel(n4={"ckpt_name": "mine.ckpt"}), "no checkpoint 'mine.ckpt'; it has: v1-5"),
}


def whole(error):
    """Return all that an error could ever say, chain and locals included."""
    told = traceback.TracebackException.from_exception(error, capture_locals=False)
    chain = "".join(told.format(chain=True))
    return f"{chain} {error!r} {vars(error)!r} {error.__context__!r} {error.__cause__!r}"


def test_every_fault_of_the_fake_is_tried():
    """A new one is one more line here."""
    assert {*FAILURES, *HARMLESS} == {*SUBMIT, *RUN}


@pytest.mark.parametrize("kind", FAILURES)
async def test_each_failure_is_its_own_error_and_keeps_the_prompt(comfy, drawer, caplog, kind):
    """The class that decides about retries, the remedy; no word of the prompt anywhere, no bill."""
    caplog.set_level(logging.DEBUG)
    error_class, said = FAILURES[kind]
    comfy.fail(kind)
    drawn = drawer()
    with pytest.raises(ProviderError, match=f"(?s){said}") as failed:
        await drawn.generate(asked(drawn))
    error = failed.value
    assert isinstance(error, error_class)
    assert error.retryable == (error_class in (ProviderUnavailable, NoImage))
    assert (error.cost_usd, error.billing is Billing.UNKNOWN) == (0, False)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert CANARY not in whole(error)
    assert CANARY not in caplog.text
    assert len(comfy.submitted) == 1


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refused_workflow_is_explained_by_node_and_kind(comfy, drawer, caplog, name):
    """Whose fault it is, by the names in the owner's own workflow; nothing of what was sent."""
    caplog.set_level(logging.DEBUG)
    graph, said = REFUSED[name]
    drawn = drawer(graph)
    with pytest.raises(ProviderMisconfigured, match=f"(?s){said}") as refused:
        await drawn.generate(asked(drawn))
    assert refused.value.remedy
    assert CANARY not in whole(refused.value)
    assert CANARY not in caplog.text
    assert comfy.history == {}


async def test_a_size_the_server_does_not_take_is_the_askers(comfy, drawer):
    """What we filled in, the asker chose: no reason to send nothing more to this server."""
    drawn = drawer(panel(n5={"width": 16, "height": 16}))
    with pytest.raises(
        UnsupportedRequest, match=r"no such (width|height) for node 5.*value_smaller"
    ):
        await drawn.generate(asked(drawn, aspect_ratio="16:9"))


async def test_half_a_workflow_is_none(comfy, drawer):
    """200 with node_errors: the good half would run and call itself a success."""
    graph = panel() | {"19": node("SaveImage", filename_prefix="b", images=["20", 0]),
                       "20": node("VAEDecode", samples=["5", 0], vae=None)}  # fmt: skip
    drawn = drawer(graph)
    with pytest.raises(ProviderMisconfigured, match=r"node 20.*'vae': required_input_missing"):
        await drawn.generate(asked(drawn))
    assert comfy.deleted == [comfy.submitted[0].id]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"error": CANARY, "node_errors": [CANARY]},
        {"error": {"type": f"{CANARY} {CANARY}", "details": f"Node ID '#{CANARY}'"}},
        {"error": {"type": "invalid_prompt", "details": f"Node ID '#{CANARY}'"}},
        {"node_errors": {"3": None, "4": {"errors": [CANARY]}, CANARY: {"errors": [{}]}}},
        {"node_errors": {"6": {"errors": [{"type": CANARY.upper(), "extra_info": {
            "input_name": CANARY, "input_config": CANARY, "received_value": CANARY}}]}}},
        {"node_errors": {"6": {"errors": [{"type": "x", "message": CANARY, "extra_info": CANARY}]}}},
    ],
)  # fmt: skip
def test_no_refusal_repeats_what_it_does_not_know(body):
    """Ids, names and types are told only where our own workflow has them too, or they are words."""
    error = failure.refused(400, body, workflow=load_workflow())
    assert isinstance(error, ProviderMisconfigured)
    assert CANARY not in str(error).lower()


@pytest.mark.parametrize(
    "status",
    [
        {"status_str": "error"},
        {"status_str": "error", "messages": CANARY},
        {"messages": [["execution_error", {"node_type": CANARY, "exception_type": f"{CANARY} !"}]]},
        {"messages": [["execution_error", {"exception_message": CANARY}], CANARY, [1, 2]]},
    ],
)
def test_no_end_without_success_repeats_its_words(status):
    """What a node is called and what it raised, else nothing."""
    error = failure.ended_badly(status, workflow=load_workflow())
    assert type(error) is ProviderError
    assert CANARY not in str(error)


def test_a_newer_servers_list_of_names_is_read_too():
    """`["COMBO", {"options": [...]}]` since 2026, a bare list before."""
    assert failure.choices_of(["COMBO", {"options": ["a", "b"]}]) == ["a", "b"]
    assert failure.choices_of([["a"], {}]) == ["a"]
    assert failure.choices_of(["INT", {}]) == []


def test_a_large_collection_is_not_told_in_full():
    """The first dozen, and that there are more."""
    told = str(failure.not_installed("x", [f"file{number}" for number in range(40)]))
    assert "file11, …" in told
    assert "file12" not in told
