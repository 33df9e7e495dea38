"""Which weights are in memory: what a change of checkpoint frees, keeps, reads and draws."""

import gc
import hashlib
import logging
import shutil
import weakref

import psutil
import pytest

from imagemill.diffusion import LoraUse
from imagemill.errors import ProviderMisconfigured
from imagemill.providers.sdxl.buckets import group_of
from imagemill.providers.sdxl.frame import Bench, Frame
from imagemill.providers.sdxl.generate import Generate
from imagemill.providers.sdxl.host_copies import HostCopies
from imagemill.providers.sdxl.loading import place_of
from imagemill.providers.sdxl.tally import Tally
from imagemill.providers.sdxl.weights import Weights
from tests.sdxl.asking import asked, options

OWN = ("unet", "text_encoder", "text_encoder_2")


@pytest.fixture
def kept(tiny):
    """Makes `Weights` with the tally they report to; everything is dropped afterwards."""
    made = []

    def make(**changes):
        some, tally = options(tiny, **changes), Tally()
        made.append(Weights(some, place_of(some), tally))
        return made[-1], tally

    yield make
    for each in made:
        each.unload()


def drawer(weights, model="first", **how):
    return weights.drawer_for(group_of(asked(model=model, **how))._replace(chunks=1))


def picture(weights, model="first", **how):
    """The bytes of what is drawn now."""
    request = asked(model=model, **how)
    group = group_of(request)._replace(chunks=1)
    frame = Frame(request, (), group, seed=7, width_px=64, height_px=64)
    bench = Bench(drawer=weights.drawer_for(group))
    return Generate().run([frame], bench)[0].pixels.tobytes()


def addresses(drawer):
    return [
        tensor.data_ptr() for part in OWN for tensor in drawer.parts[part].state_dict().values()
    ]


@pytest.fixture(scope="module")
def true_pictures(tiny):
    """What each checkpoint draws when it is loaded into fresh memory."""
    some = options(tiny, swap="reload")
    weights = Weights(some, place_of(some), Tally())
    found = {name: picture(weights, name) for name in ("first", "second", "third")}
    weights.unload()
    assert len(set(found.values())) == 3
    return found


# --- reload --------------------------------------------------------------------------------------


def test_a_change_frees_the_old_checkpoint_and_keeps_the_vae(kept, true_pictures):
    """UNet and both encoders are gone, not only unused; the VAE is the same object."""
    weights, tally = kept(swap="reload")
    vae, old = drawer(weights).vae, drawer(weights)
    assert picture(weights) == true_pictures["first"]
    gone = [weakref.ref(old.parts[part]) for part in OWN] + [weakref.ref(old)]
    del old
    assert drawer(weights, "second").vae is vae
    assert [ref() for ref in gone] == [None] * 4
    assert weights.resident == {"second"}
    report = tally.report()
    assert (report.releases, report.leaks, report.swaps) == (1, 0, 0)
    assert picture(weights, "second") == true_pictures["second"]
    assert picture(weights, "first") == true_pictures["first"]


def test_what_something_still_holds_is_counted_and_told(kept, caplog):
    """By the part's name, so that whoever wrote the node knows what to look for."""
    weights, tally = kept(swap="reload")
    held = drawer(weights).parts["unet"]
    with caplog.at_level(logging.WARNING, "imagemill"):
        drawer(weights, "second")
    assert tally.report().leaks == 1
    assert "first is not free: something still holds its unet." in caplog.text
    del held


def test_who_keeps_the_drawer_keeps_no_weights(kept):
    """It lets go of everything when its checkpoint goes, its pipelines too."""
    weights, tally = kept(swap="reload")
    held = drawer(weights)
    assert picture(weights)
    unet = weakref.ref(held.parts["unet"])
    drawer(weights, "second")
    assert unet() is None
    assert held.parts == {}
    assert tally.report().leaks == 0


def test_two_may_stay_and_the_least_recently_used_goes(kept):
    """A third one takes the place of the one that was not drawn with for longest."""
    weights, tally = kept(swap="reload", max_resident=2)
    for name in ("first", "second", "first", "third"):
        drawer(weights, name)
    assert weights.resident == {"first", "third"}
    assert tally.report().loads == {"first": 1, "second": 1, "third": 1}
    drawer(weights, "first")
    drawer(weights, "second")
    assert weights.resident == {"first", "second"}


def test_unloaded_nothing_is_left(kept, tmp_path):
    """Not the VAE, not the ControlNet; everything comes back when it is needed."""
    from bench import tiny_sdxl

    net = tiny_sdxl.save_controlnet(tmp_path / "net")
    weights, tally = kept(swap="reload", controls={"canny": net})
    old = drawer(weights, control="canny")
    gone = [weakref.ref(part) for part in (old.vae, old.controls["canny"], old.parts["unet"])]
    del old
    weights.unload()
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3
    assert weights.resident == frozenset()
    assert drawer(weights, control="canny").controls["canny"]
    assert tally.report().leaks == 0


def test_a_checkpoint_with_a_vae_of_its_own_brings_it_each_time(kept, tiny):
    """Without a shared one, even where copying was asked for: more than three parts would change."""
    weights, tally = kept(vae=None, swap="copy")
    first = drawer(weights).vae
    one = picture(weights)
    assert drawer(weights, "second").vae is not first
    assert tally.report().swaps == 0
    assert picture(weights) == one


# --- copy ----------------------------------------------------------------------------------------


def test_copied_into_place_the_addresses_stay_and_the_pictures_are_the_same(kept, true_pictures):
    """No memory is asked for or given back, and every checkpoint draws as if freshly loaded."""
    weights, tally = kept(swap="copy")
    assert picture(weights) == true_pictures["first"]
    here = drawer(weights)
    before, vae = addresses(here), here.vae
    for name in ("second", "third", "first", "second"):
        assert picture(weights, name) == true_pictures[name]
        assert weights.resident == {name}
        assert drawer(weights, name) is here
        assert addresses(here) == before
        assert here.vae is vae
    assert tally.report().swaps == 4
    assert tally.report().loads == {"first": 1, "second": 1, "third": 1}


def test_what_lies_in_the_file_is_never_written_to(kept, tiny, tmp_path):
    """Weights that were read lie mapped to their file: overwriting them must not reach it."""
    path = tmp_path / "first.safetensors"
    shutil.copy(tiny.first, path)
    known = options(tiny).checkpoints
    own = {**known, "first": known["first"].model_copy(update={"file": path})}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    weights, _ = kept(swap="copy", checkpoints=own)
    drawer(weights)
    drawer(weights, "second")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(("budget_gb", "swaps", "loads"), [(1.0, 10, 3), (0.0, 4, 7)])
def test_swaps_do_not_grow_and_read_files_only_without_room(budget_gb, swaps, loads, kept):
    """Copies are kept where they fit; memory after ten swaps is what it was after three."""
    weights, tally = kept(swap="copy", host_copies_gb=budget_gb)
    names = ("first", "second", "third")
    for at in range(3):
        drawer(weights, names[at])
    gc.collect()
    before = psutil.Process().memory_info().rss
    for at in range(swaps):
        drawer(weights, names[at % 3])
    gc.collect()
    assert psutil.Process().memory_info().rss - before < 15e6  # a checkpoint is 13 MB
    report = tally.report()
    assert sum(report.loads.values()) == loads
    assert report.swaps == swaps + 2


def test_a_budget_counts_what_page_locked_blocks_take():
    """Each is rounded up to a power of two; without page-locking nothing is."""
    import torch

    module = {"part": torch.nn.Linear(250, 33, bias=False)}  # 33,000 bytes; locked 65,536
    exact = HostCopies(33_000 / 1e9, pin=False)
    assert exact.keep("a", module)
    assert exact.keep("a", module)
    assert not exact.keep("b", module)
    assert exact.of("b") is None
    assert HostCopies(65_535 / 1e9, pin=True).keep("a", module) is False


def test_checkpoints_of_another_make_do_not_take_a_place(kept):
    """Told before a number is overwritten: the resident one still draws, from where it lies."""
    weights, tally = kept(swap="copy")
    before = picture(weights)
    here = drawer(weights)
    weights._copies.keep("second", {part: here.parts[part] for part in OWN})
    wrong = weights._copies.of("second")["unet"]
    wrong["conv_in.bias"] = wrong["conv_in.bias"][:-1]
    with pytest.raises(ProviderMisconfigured, match="differ in the make of their unet") as caught:
        drawer(weights, "second")
    assert "reload" in caught.value.remedy
    assert weights.resident == {"first"}
    assert picture(weights) == before
    assert tally.report().loads == {"first": 1}


def test_compiled_it_goes_the_same_way(kept, monkeypatch, true_pictures):
    """The repeated blocks of the UNet are compiled, for shapes as they come; the picture is the same."""
    import torch

    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)
    weights, _ = kept(compile=True)
    with torch.compiler.set_stance("force_eager"):  # there may be no C++ compiler
        assert picture(weights) == true_pictures["first"]
    blocks = [m for m in drawer(weights).parts["unet"].modules() if m._compiled_call_impl]
    assert len(blocks) >= 7
    assert torch._dynamo.config.recompile_limit > 8


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("swap", ["copy", "reload"])
def test_remembered_words_belong_to_their_checkpoint(swap, kept, true_pictures):
    """Asked again they are not encoded again; another checkpoint's are its own."""
    weights, _ = kept(swap=swap)
    request = asked()
    first = drawer(weights).words(request, chunks=1)
    assert drawer(weights).words(request, chunks=1) is first
    assert drawer(weights).words(request, chunks=2) is not first
    second = drawer(weights, "second").words(request, chunks=1)
    assert not second.prompt_embeds.equal(first.prompt_embeds)
    assert picture(weights, "second") == true_pictures["second"]


def test_only_so_many_words_are_remembered(kept, monkeypatch):
    """Those asked for least recently go."""
    from imagemill.providers.sdxl import drawer as module

    monkeypatch.setattr(module, "WORDS_KEPT", 2)
    here = drawer(kept()[0])
    one, two = (here.words(asked(word), chunks=1) for word in ("one", "two"))
    assert here.words(asked("one"), chunks=1) is one
    here.words(asked("three"), chunks=1)
    assert here.words(asked("one"), chunks=1) is one
    assert here.words(asked("two"), chunks=1) is not two


# --- LoRAs ---------------------------------------------------------------------------------------


@pytest.fixture
def loras(tmp_path):
    from bench import tiny_sdxl

    return {name: tiny_sdxl.save_lora(tmp_path, name=name) for name in ("ink", "oil")}


def uses(*texts):
    return {"loras": tuple(LoraUse.read(text) for text in texts)}


def test_a_lora_is_worn_by_its_weight_and_taken_off_without_a_trace(kept, loras, true_pictures):
    """Names, weights and pairs differ; undressed, also after a swap, the pictures are the old ones."""
    weights, _ = kept(swap="copy", loras=loras)
    before = addresses(drawer(weights))
    seen = {picture(weights)}
    for some in (["ink"], ["ink:0.5"], ["ink", "oil"]):
        seen.add(picture(weights, **uses(*some)))
    assert len(seen) == 4
    assert picture(weights, **uses("ink:0")) == true_pictures["first"]
    assert picture(weights) == true_pictures["first"]
    assert addresses(drawer(weights)) == before
    picture(weights, **uses("ink"))
    assert picture(weights, "second") == true_pictures["second"]
    assert picture(weights, "second", **uses("ink")) not in seen
    assert picture(weights) == true_pictures["first"]


@pytest.mark.parametrize("kind", ["another shape", "nothing for it", "no LoRA at all", "unknown"])
def test_a_lora_that_does_not_fit_leaves_nothing_behind(kind, kept, loras, tmp_path, true_pictures):
    """The message names the file; the first of the two is out again too."""
    import torch
    from safetensors.torch import load_file, save_file

    state = load_file(loras["oil"])
    changed = {
        "another shape": {name: torch.cat([each] * 2) for name, each in state.items()},
        "nothing for it": {f"elsewhere.{name}": each for name, each in state.items()},
        "no LoRA at all": {"lora": torch.zeros(1)},
    }
    path = tmp_path / "wrong.safetensors"
    known = {**loras, "wrong": path}
    if kind == "unknown":
        del known["wrong"]
    else:
        save_file(changed[kind], path)
    weights, _ = kept(loras=known)
    told = (
        "This worker has no LoRA 'wrong'" if kind == "unknown" else f"The LoRA {path} does not fit"
    )
    with pytest.raises(ProviderMisconfigured, match=told) as caught:
        picture(weights, **uses("ink", "wrong"))
    assert caught.value.remedy
    assert picture(weights) == true_pictures["first"]
    assert picture(weights, **uses("ink")) != true_pictures["first"]


# --- files that load not -------------------------------------------------------------------------


def test_what_does_not_load_is_told_and_the_resident_one_stays(kept, tiny, tmp_path):
    """A file with a part missing, one that is gone, one that is not configured here."""
    from safetensors.torch import load_file, save_file

    state = load_file(tiny.second)
    broken = tmp_path / "broken.safetensors"
    save_file({k: v for k, v in state.items() if not k.endswith("out.2.weight")}, broken)
    known = options(tiny).checkpoints
    weights, _ = kept(
        swap="copy",
        checkpoints={
            **known,
            "broken": known["first"].model_copy(update={"file": broken}),
            "gone": known["first"].model_copy(update={"file": tmp_path / "gone.safetensors"}),
        },
    )
    before = picture(weights)
    for name in ("broken", "gone", "unknown"):
        with pytest.raises(ProviderMisconfigured) as caught:
            drawer(weights, name)
        assert name in str(caught.value)
        assert caught.value.remedy
    assert weights.resident == {"first"}
    assert picture(weights) == before


def test_a_vae_or_controlnet_that_does_not_load_is_told(kept, tiny, tmp_path):
    """Each by its path; a kind without any is told too."""
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    shutil.copy(tiny.second, folder / "diffusion_pytorch_model.safetensors")
    net = {"controls": {"canny": folder}}
    for changes, how in (({"vae": folder}, {}), (net, {"control": "canny"})):
        weights, _ = kept(**changes)
        with pytest.raises(ProviderMisconfigured, match=f"{folder} lacks some of its weights"):
            drawer(weights, **how)
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"none")
    for changes, how in (({"vae": folder}, {}), (net, {"control": "canny"})):
        weights, _ = kept(**changes)
        with pytest.raises(ProviderMisconfigured, match=f"{folder} does not load"):
            drawer(weights, **how)
    with pytest.raises(ProviderMisconfigured, match="no ControlNet for depth"):
        drawer(kept()[0], control="depth")


def test_the_place_is_told_where_it_cannot_be(tiny):
    """A device that is not there, and a word that is none; numbers are as asked for."""
    import torch

    for device in ("cuda:7", "potato"):
        if device == "potato" or not torch.cuda.is_available():
            with pytest.raises(ProviderMisconfigured, match=f"The device '{device}'"):
                place_of(options(tiny, device=device))
    assert place_of(options(tiny)).dtype == torch.float32
    assert place_of(options(tiny, dtype="bfloat16")).dtype == torch.bfloat16


def test_without_torch_the_remedy_is_the_command(tiny, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ProviderMisconfigured, match="make setup-gpu"):
        place_of(options(tiny))
