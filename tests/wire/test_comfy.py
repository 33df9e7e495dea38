"""The fake ComfyUI answers as the real one was recorded: same statuses, keys and types."""

import json

import httpx
import pytest

from tests.providers.comfy_graphs import CHECKPOINT, panel
from tests.wire.comfy import FakeComfy
from tests.wire.comfy_shapes import answer_shape, recorded


def fits(found, real) -> bool:
    """Whether a shape is the recorded one; lists that happen to be empty fit."""
    if isinstance(found, list) and isinstance(real, list):
        return not found or not real or fits(found[0], real[0])
    if isinstance(found, dict) and isinstance(real, dict):
        return found.keys() == real.keys() and all(fits(found[k], real[k]) for k in real)
    return found == real


@pytest.fixture
def fake():
    with FakeComfy() as running:
        yield running


@pytest.fixture
def ask(fake):
    with httpx.Client(base_url=fake.url, trust_env=False) as client:
        yield client.request


def done(fake, ask, prompt_id):
    """Poll, without sleeping, until the history has it."""
    while not (entry := ask("GET", f"/history/{prompt_id}").json()):
        pass
    return entry


def post(ask, graph, prompt_id="5d0e6b2a-0000-4000-8000-000000000001"):
    return ask("POST", "/prompt", json={"prompt": graph, "prompt_id": prompt_id})


def like(reply, name):
    kind = reply.headers.get("content-type")
    body = reply.json() if (kind or "").startswith("application/json") else None
    found = answer_shape(reply.status_code, kind, body)
    assert fits(found, recorded()[name]), (name, json.dumps(found), json.dumps(recorded()[name]))
    return reply


IDS = [f"5d0e6b2a-0000-4000-8000-{n:012}" for n in range(9)]


REFUSED = {
    "19_prompt_400_bad_link": {"prompt": panel(n9={"images": ["77", 0]})},
    "20_prompt_400_unknown_class": {
        "prompt": panel() | {"1": {"class_type": "NoSuchNode", "inputs": {}}}
    },
    "21_prompt_400_out_of_range": {"prompt": panel(n5={"width": 10**9})},
    "22_prompt_400_missing_input": {"prompt": panel(n5={"width": None})},
    "23_prompt_400_no_outputs": {"prompt": {k: v for k, v in panel().items() if k != "9"}},
    "24_prompt_400_no_prompt": {},
    "25_prompt_400_ui_format": {"prompt": {"nodes": [], "links": [], "version": 0.4}},
    "27_prompt_400_checkpoint_not_there": {"prompt": panel(n4={"ckpt_name": "not.safetensors"})},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_prompt_is_refused_in_the_real_words(ask, name):
    """Status, error types and where they stand: what our own errors are made from."""
    reply = like(ask("POST", "/prompt", json=REFUSED[name]), name)
    text = json.dumps(recorded()[name])
    assert all(key in text for key in reply.json())


def test_a_body_that_is_no_json_is_trouble(ask):
    """500 in plain text, as recorded."""
    like(ask("POST", "/prompt", content=b"no json"), "26_prompt_not_json")


def test_an_image_goes_from_the_queue_to_the_history_and_can_be_seen(fake, ask):
    """Accepted, listed while it runs, in the history when it is done, served by /view."""
    fake.fail("stall", nth=[2])
    like(post(ask, panel(), IDS[1]), "37_prompt_own_id")
    entry = done(fake, ask, IDS[1])
    like(ask("GET", f"/history/{IDS[1]}"), "07_history_success")
    file = entry[IDS[1]]["outputs"]["9"]["images"][0]
    like(ask("GET", "/view", params=file), "08_view")
    like(ask("GET", "/view", params={**file, "filename": "nope.png"}), "11_view_missing")
    like(ask("GET", "/history/does-not-exist"), "15_history_unknown")
    fake.began.clear()
    post(ask, panel(n3={"seed": 2}), IDS[2])
    post(ask, panel(n3={"seed": 3}), IDS[3])
    assert fake.began.wait(10)
    like(ask("GET", "/queue"), "52_queue_one_running_two_pending")
    like(ask("POST", "/queue", json={"delete": [IDS[3]]}), "53_queue_delete_pending")
    like(ask("GET", "/queue"), "48_queue_running")
    like(ask("POST", "/interrupt", json={"prompt_id": "someone-else"}), "47_interrupt_other_id")
    assert fake.history.keys() == {IDS[1]}
    like(ask("POST", "/interrupt", json={"prompt_id": IDS[2]}), "49_interrupt")
    done(fake, ask, IDS[2])
    like(ask("GET", f"/history/{IDS[2]}"), "51_history_interrupted")


def test_an_identical_graph_is_not_run_again(fake, ask):
    """The second one names the first one's file: the trap that a fresh prefix gets around."""
    first = like(post(ask, panel(), IDS[1]), "06_prompt_ok")
    done(fake, ask, first.json()["prompt_id"])
    like(post(ask, panel(), IDS[2]), "17_prompt_identical")
    second = done(fake, ask, IDS[2])[IDS[2]]
    like(ask("GET", f"/history/{IDS[2]}"), "18_history_cached")
    assert second["outputs"] == fake.history[IDS[1]]["outputs"]
    assert dict(second["status"]["messages"])["execution_cached"]["nodes"] == list(panel())


def test_a_node_that_raises_leaves_its_words_and_paths_in_the_history(fake, ask):
    """As the real one does: the reader must not repeat them."""
    fake.fail("node_error")
    post(ask, panel(), IDS[1])
    entry = done(fake, ask, IDS[1])[IDS[1]]
    like(ask("GET", f"/history/{IDS[1]}"), "30_history_error")
    assert (
        "CLIPTextEncode"
        in dict(entry["status"]["messages"])["execution_error"]["exception_message"]
    )


def test_a_half_good_graph_is_taken_with_a_warning(ask):
    """200 and node_errors: only the good output runs."""
    graph = panel() | {"10": {"class_type": "SaveImage", "inputs": {"images": ["99", 0]}}}
    graph["10"]["inputs"]["filename_prefix"] = "x"
    like(post(ask, graph), "28_prompt_200_partial_node_errors")


def test_uploads_keep_their_name_by_their_bytes(ask):
    """Same bytes, same name; other bytes, another name: the returned one is what counts."""
    samples = ("31_upload_image", "32_upload_image_same_name_same_bytes",
               "33_upload_image_same_name_other_bytes")  # fmt: skip
    names = []
    for data, name in zip((b"one", b"one", b"two"), samples, strict=True):
        reply = ask("POST", "/upload/image", files={"image": ("ref.png", data)},
                    data={"subfolder": "a"})  # fmt: skip
        names.append(like(reply, name).json()["name"])
    assert names == ["ref.png", "ref.png", "ref (1).png"]


def test_what_is_installed_is_told(ask):
    """Version, node classes with their inputs, nothing for a class that is not there."""
    like(ask("GET", "/system_stats"), "01_system_stats")
    like(ask("GET", "/object_info/KSampler"), "04_object_info_one")
    like(ask("GET", "/object_info/NoSuchNode"), "05_object_info_unknown")
    found = ask("GET", "/object_info/CheckpointLoaderSimple").json()["CheckpointLoaderSimple"]
    assert found["input"]["required"]["ckpt_name"][0] == [CHECKPOINT]
