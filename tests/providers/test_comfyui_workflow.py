"""A workflow's inputs are found by its links, whatever its nodes are called, or it is refused."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemill.errors import ProviderMisconfigured
from imagemill.providers.comfyui import load_workflow
from imagemill.providers.comfyui.inputs import Slot
from imagemill.providers.comfyui.sizes import native_size, pixel_size, sizes_for
from imagemill.providers.comfyui.workflow import SHIPPED, Fill
from tests.providers.comfy_graphs import CHECKPOINT, node, panel, renamed, with_reference

FILL = Fill(positive="a fox", negative="a dog", seed=7, prefix="imagemill/x", size=(80, 96))


def load(graph, **more):
    return load_workflow(json.dumps(graph), **more)


def differences(before, after):
    """Return the inputs that differ, by node and name."""
    return {
        (name, key): value
        for name, parts in after.items()
        for key, value in parts["inputs"].items()
        if before[name]["inputs"][key] != value
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_workflows_are_filled_and_otherwise_left_alone(name):
    """Words, seed, size and prefix are written into a copy; nothing else differs from the file."""
    workflow = load_workflow(name)
    before = copy.deepcopy(workflow.graph)
    after = workflow.filled(FILL)
    assert differences(before, after) == {
        ("6", "text"): "a fox", ("7", "text"): "a dog", ("3", "seed"): 7,
        ("5", "width"): 80, ("5", "height"): 96, ("9", "filename_prefix"): "imagemill/x",
    }  # fmt: skip
    assert workflow.graph == before


def test_without_negative_words_the_workflows_own_stay():
    """The negative node is the file's, byte for byte."""
    workflow = load_workflow()
    filled = workflow.filled(Fill(positive="a fox", seed=1, prefix="p"))
    assert json.dumps(filled["7"]) == json.dumps(workflow.graph["7"])
    assert "watermark" in filled["7"]["inputs"]["text"]


def test_titles_in_any_language_and_ids_of_any_kind_do_not_matter():
    """Exported by somebody who names nodes in Korean, after grouping them: `12:5`."""
    titles = {"3": "샘플러", "6": "긍정 프롬프트", "7": "부정 프롬프트", "9": "저장", "5": "크기"}
    graph = panel()
    for name, title in titles.items():
        graph[name]["_meta"]["title"] = title
    found = load(renamed(graph, {name: f"12:{name}" for name in graph})).slots
    assert (found.positive, found.negative) == ((Slot("12:6", "text"),), (Slot("12:7", "text"),))
    assert (found.seed, found.prefix.node) == (Slot("12:3", "seed"), "12:9")


def test_a_title_that_says_the_opposite_does_not_win_over_a_link():
    """What is linked to the sampler's positive is positive."""
    graph = panel()
    graph["6"]["_meta"]["title"] = "Negative"
    graph["7"]["_meta"]["title"] = "Positive"
    assert load(graph).slots.positive == (Slot("6", "text"),)


@settings(max_examples=60, deadline=None)
@given(
    ids=st.lists(st.text(min_size=1, max_size=8), min_size=20, max_size=20, unique=True),
    hops=st.lists(st.sampled_from(["3.model", "3.positive", "3.negative", "3.latent_image",
                                   "8.samples", "9.images"]), max_size=8),
    order=st.randoms(use_true_random=False),
)  # fmt: skip
def test_nodes_in_between_ids_and_order_never_change_what_is_found(ids, hops, order):
    """Whatever stands between the sampler and its words, the same inputs are written."""
    graph = panel()
    for number, hop in enumerate(hops):
        user, name = hop.split(".")
        inputs = graph[user]["inputs"]
        graph[f"hop{number}"] = node("Anything", **{name: inputs[name]}, amount=1.5)
        inputs[name] = [f"hop{number}", 0]
    names = dict(zip(graph, ids, strict=False))
    items = list(renamed(graph, names).items())
    order.shuffle(items)
    found = load(dict(items)).slots
    assert found.positive == (Slot(names["6"], "text"),)
    assert found.negative == (Slot(names["7"], "text"),)
    assert (found.seed, found.prefix.node) == (Slot(names["3"], "seed"), names["9"])
    assert found.size == (Slot(names["5"], "width"), Slot(names["5"], "height"))
    assert found.checkpoint == Slot(names["4"], "ckpt_name")


def test_both_words_of_an_sdxl_encoder_are_written():
    """`text_g` and `text_l` say the same."""
    graph = panel()
    graph["6"] = node("CLIPTextEncodeSDXL", text_g="a", text_l="b", clip=["4", 1], width=1024)
    filled = load(graph).filled(FILL)
    assert filled["6"]["inputs"] == {
        "text_g": "a fox", "text_l": "a fox", "clip": ["4", 1], "width": 1024,
    }  # fmt: skip


def test_a_primitive_node_is_written_where_the_value_lies():
    """Words, seed and width may each come from a node of their own; the links stay."""
    graph = panel(n6={"text": ["20", 0]}, n3={"seed": ["21", 0]}, n5={"width": ["22", 0]}) | {
        "20": node("PrimitiveString", value="old"), "21": node("Seed (rgthree)", seed=3),
        "22": node("PrimitiveInt", value=64),
    }  # fmt: skip
    filled = load(graph).filled(FILL)
    assert filled["6"]["inputs"]["text"] == ["20", 0]
    written = (filled["20"]["inputs"], filled["21"]["inputs"], filled["22"]["inputs"])
    assert written == ({"value": "a fox"}, {"seed": 7}, {"value": 80})


def test_past_a_control_net_positive_and_negative_stay_apart():
    """Both run through one node; each is followed in its own lane."""
    graph = panel(n3={"positive": ["30", 0], "negative": ["30", 1]}) | {
        "30": node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], strength=1.0)
    }
    graph["6"]["_meta"]["title"] = graph["7"]["_meta"]["title"] = "CLIP Text Encode"
    found = load(graph).slots
    assert (found.positive[0].node, found.negative[0].node) == ("6", "7")


def custom_sampler():
    """Flux's way: noise, guider and sampler are nodes of their own, and nothing is negative."""
    graph = panel()
    graph["3"] = node("SamplerCustomAdvanced", noise=["31", 0], guider=["32", 0],
                      sampler=["33", 0], sigmas=["33", 0], latent_image=["5", 0])  # fmt: skip
    graph |= {
        "31": node("RandomNoise", noise_seed=1),
        "32": node("BasicGuider", model=["35", 0], conditioning=["34", 0]),
        "33": node("KSamplerSelect", sampler_name="euler"),
        "34": node("FluxGuidance", conditioning=["6", 0], guidance=3.5),
        "35": node("UNETLoader", unet_name="flux1.safetensors", weight_dtype="default"),
    }
    return graph


def test_a_sampler_in_parts_is_followed_through_noise_and_guider():
    """Seed from RandomNoise, words through the guider, weights of a UNet loader, no negative."""
    workflow = load(custom_sampler())
    assert workflow.slots.seed == Slot("31", "noise_seed")
    assert (workflow.slots.positive, workflow.slots.negative) == ((Slot("6", "text"),), ())
    assert (workflow.checkpoint, workflow.plain) == ("flux1.safetensors", "flux1")
    assert workflow.filled(FILL)["7"] == panel()["7"]


def test_an_advanced_sampler_has_its_seed_by_another_name():
    """KSamplerAdvanced: `noise_seed`."""
    graph = panel()
    graph["3"]["inputs"]["noise_seed"] = graph["3"]["inputs"].pop("seed")
    assert load(graph).slots.seed == Slot("3", "noise_seed")


def test_a_negative_made_of_nothing_has_no_words():
    """ConditioningZeroOut is fed by the positive node; that is no mistake."""
    graph = panel(n3={"negative": ["40", 0]}) | {
        "40": node("ConditioningZeroOut", conditioning=["6", 0])
    }
    assert load(graph).slots.negative == ()


def test_a_loaded_picture_is_the_place_of_a_reference():
    """And then no size is written: the picture decides it."""
    workflow = load(with_reference())
    assert (workflow.slots.reference, workflow.slots.size) == (Slot("10", "image"), None)
    filled = workflow.filled(Fill(positive="x", seed=1, prefix="p", reference="imagemill/a.png"))
    assert filled["10"]["inputs"]["image"] == "imagemill/a.png"


# --- what is refused -----------------------------------------------------------------------------


def two_outputs(first="Save Image", second="Save Image"):
    graph = panel() | {"19": node("SaveImage", filename_prefix="b", images=["8", 0], title=second)}
    graph["9"]["_meta"]["title"] = first
    return graph


def two_samplers():
    second = copy.deepcopy(panel()["3"])
    second["inputs"]["latent_image"] = ["3", 0]
    second["_meta"]["title"] = "Refiner"
    graph = panel(n8={"samples": ["13", 0]}) | {"13": second}
    graph["3"]["_meta"]["title"] = "Base"
    return graph


def only_preview():
    graph = panel()
    graph["9"] = node("PreviewImage", images=["8", 0])
    return graph


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{no json", "not the JSON of a workflow.*Export \\(API\\)"),
        ("[]", "not the JSON"),
        ("{}", "not the JSON"),
        (json.dumps({"nodes": [], "links": [], "version": 0.4}), "editor's own format.*API"),
        (json.dumps({"6": {"class_type": "X"}}), "'6' is no node"),
        (json.dumps(panel(n8={"vae": ["77", 2]})), "'vae' of node 8 .*'77', which is not there"),
        (json.dumps(two_outputs()), 'Several nodes could be the output.*9 .*19 .*Map output'),
        (json.dumps(two_samplers()), 'Several.*sampler.*"Refiner".*"Base"'),
        (json.dumps(only_preview()), "output was not found.*Save Image"),
        (json.dumps(panel(n3={"negative": ["6", 0]})), "both come from node 6"),
        (json.dumps(panel(n6={"text": ["50", 0]}) | {
            "50": node("StringConcatenate", string_a="a", string_b="b")}),
         "'text' of node 6 .* computed by node 50.*no one place"),
        (json.dumps(panel(n6={"text": ["6", 0]})), "no one place"),
        (json.dumps(panel(n5={"width": ["22", 0], "height": ["22", 0]}) | {
            "22": node("PrimitiveInt", value=64)}), "no width besides the height"),
        ("/nowhere/workflow.json", "cannot be read .FileNotFoundError.*make_panel"),
        ("no_such_shipped_one", "cannot be read"),
    ],
)  # fmt: skip
def test_a_workflow_that_cannot_be_filled_is_refused_at_the_start(source, said):
    """What is wrong, where, and what to do."""
    with pytest.raises(ProviderMisconfigured, match=f"(?s){said}"):
        load_workflow(source)


def test_no_refusal_tells_the_words_in_a_workflow():
    """They may be somebody's prompt."""
    graph = panel(n6={"text": "xyzzycanary"}, n7={"text": "xyzzycanary too"})
    broken = [
        graph | {"8": node("VAEDecode", samples=["77", 0], vae=["4", 2], note="xyzzycanary")},
        graph
        | {
            "19": node(
                "SaveImage", title="Output 2", filename_prefix="xyzzycanary", images=["8", 0]
            )
        },
        graph | {"3": {**graph["3"], "inputs": {**graph["3"]["inputs"], "negative": ["6", 0]}}},
    ]
    for each in broken:
        with pytest.raises(ProviderMisconfigured) as refused:
            load(each)
        assert "xyzzycanary" not in str(refused.value)
    for cut in (json.dumps(graph)[:-4], json.dumps(graph)[1:], '"text": "xyzzycanary"'):
        with pytest.raises(ProviderMisconfigured) as refused:
            load_workflow(cut)
        assert "xyzzycanary" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_a_title_breaks_a_tie_and_a_mapping_beats_both():
    """Of two outputs the one titled so; unless somebody says which."""
    graph = two_outputs(second="The Output")
    assert load(graph).output == "19"
    assert load(graph, mapping={"output": "9"}).output == "9"
    assert load(graph, mapping={"output": "Save Image"}).output == "9"
    assert load(two_samplers(), mapping={"sampler": "Base"}).slots.seed.node == "3"


def test_a_mapping_needs_no_sampler_that_is_known():
    """Words and seed named: a custom node may do the rest."""
    graph = {
        "1": node("AllInOne", prompt="", luck=4, canvas=["3", 0]),
        "2": node("SaveImage", filename_prefix="x", images=["1", 0]),
        "3": node("Canvas", width=64, height=96),
    }
    found = load(graph, mapping={"positive": "1", "seed": "1", "size": "3"}).slots
    assert (found.positive, found.negative) == ((Slot("1", "prompt"),), ())
    assert (found.seed, found.checkpoint) == (Slot("1", "luck"), None)
    assert found.size == (Slot("3", "width"), Slot("3", "height"))


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"painter": "3"}, "knows no painter.*output, sampler"),
        ({"positive": "99"}, "positive names 0 nodes"),
        ({"positive": "Twin"}, "names 2 nodes.*6 .*7"),
        ({"positive": "8"}, "no words"),
        ({"seed": "8"}, "no input"),
        ({"size": "8"}, "no width and height"),
        ({"checkpoint": "8"}, "no ckpt_name or unet_name"),
        ({"reference": "8"}, "no image input"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(mapping, said):
    """With what it should have named."""
    graph = panel()
    graph["6"]["_meta"]["title"] = graph["7"]["_meta"]["title"] = "Twin"
    with pytest.raises(ProviderMisconfigured, match=f"(?s){said}"):
        load(graph, mapping=mapping)


# --- names and sizes -----------------------------------------------------------------------------


def test_the_model_is_named_by_what_decides_a_picture():
    """Other words, seed or titles are the same model; other steps, weights or size are not."""
    graph = panel()
    name = load(graph).model
    assert name.startswith(f"{CHECKPOINT.rsplit('.', 1)[0]}-")
    same = panel(n6={"text": "other"}, n3={"seed": 9}, n9={"filename_prefix": "z"})
    same["3"]["_meta"]["title"] = "Anything"
    assert load(same).model == name
    others = [load(panel(n3={"steps": 9})), load(panel(n5={"width": 72})),
              load(panel(n7={"text": "blue"})), load(graph, checkpoint="a/b/Other v2.ckpt")]  # fmt: skip
    assert len({name, *(each.model for each in others)}) == 5
    assert (others[-1].plain, others[-1].checkpoint) == ("Other_v2", "a/b/Other v2.ckpt")


def test_a_checkpoint_for_a_workflow_that_loads_none_is_refused():
    """It would be ignored otherwise."""
    graph = panel()
    graph["4"] = node("MyLoader")
    with pytest.raises(ProviderMisconfigured, match="no node that loads a checkpoint"):
        load(graph, checkpoint="x.safetensors")
    assert load(graph).plain == "The_pasted_workflow"


def test_a_file_is_read_and_named_by_its_name(tmp_path):
    """As ComfyUI's export is called."""
    graph = panel()
    graph["4"] = node("MyLoader")
    file = tmp_path / "My panel.json"
    file.write_text(json.dumps(graph))
    assert load_workflow(str(file)).plain == "My_panel"


@pytest.mark.parametrize(
    ("own", "native", "size", "ratio", "pixels"),
    [
        ((512, 512), "512", "512", "1:1", (512, 512)),
        ((512, 512), "512", "256", "16:9", (336, 192)),
        ((1024, 1024), "1K", "1K", "3:2", (1216, 832)),
        ((1024, 1024), "1K", "512", "21:9", (768, 320)),
        ((768, 768), "1K", "1K", "1:1", (768, 768)),
        ((832, 1216), "1K", "1K", "2:3", (832, 1216)),
        ((64, 64), "256", "256", "1:1", (64, 64)),
    ],
)
def test_sizes_follow_the_workflows_own(own, native, size, ratio, pixels):
    """The exported size as it is where it fits, the shapes of SDXL around it, nothing larger."""
    assert native_size(*own) == native
    assert sizes_for(native)[-1] == native
    assert pixel_size(size, ratio, own=own) == pixels
