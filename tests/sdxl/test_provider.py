"""SDXL as a provider: what it can do, what it puts into the key, and what it refuses at the door."""

import asyncio
import logging
from decimal import Decimal

import pytest

from imagemill.artifact import digest_of
from imagemill.diffusion import DiffusionWish, LoraUse
from imagemill.errors import ProviderMisconfigured, RequestError, RunStopped, UnsupportedRequest
from imagemill.providers.base import Completes, DrawsByStyle, ImageProvider, Ordered
from imagemill.providers.sdxl import Checkpoint, SdxlOptions, SdxlProvider, engines
from imagemill.providers.sdxl import provider as provider_module
from imagemill.providers.sdxl.engine import Engine
from imagemill.providers.sdxl.memory import cap, figures
from tests.builders import image_request
from tests.sdxl.asking import options, png, until


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    from bench import tiny_sdxl

    root = tmp_path_factory.mktemp("parts")
    return {
        "loras": {"ink": tiny_sdxl.save_lora(root, name="ink")},
        "controls": {"canny": tiny_sdxl.save_controlnet(root / "net")},
    }


@pytest.fixture(scope="module")
def digests(tmp_path_factory):
    return tmp_path_factory.mktemp("digests") / "known.json"


@pytest.fixture
def provider(tiny, digests):
    """Makes providers; there is no engine before, and theirs are ended afterwards."""
    engines.close_engines()

    def make(**changes):
        return SdxlProvider(options(tiny, **changes), digests=digests)

    yield make
    engines.close_engines()
    assert engines.running_engines() == []


@pytest.fixture(scope="module")
def warm(tiny, parts, digests):
    """One provider whose engine stays, with a ControlNet for edges and a LoRA."""
    some = options(tiny, linger_s=1, **parts)
    yield SdxlProvider(some, digests=digests)
    engines.close_engines()


def asking(**changes):
    fields = {"provider": "sdxl", "model": "first", "size": "1K", "seed": 7}
    return image_request(**{**fields, **changes})


def settled(provider, *, wish=None, **changes):
    [done] = provider.completed([asking(**changes)], [wish])
    return done.diffusion


REFERENCE = png(box=(8, 8, 40, 56))
REFERENCES = {"references": (digest_of(REFERENCE),)}


def test_it_says_what_it_can_do(warm):
    """It costs nothing, takes one reference and long prompts; it is all that flows may ask it to be."""
    able = warm.capabilities()
    assert (able.provider, able.model, able.default_size) == ("sdxl", "first", "1K")
    assert set(able.sizes.values()) == {Decimal(0)}
    assert (able.reference_images, able.batch_size, able.max_in_flight) == (1, 4, None)
    assert able.seed
    assert able.negative_prompt
    assert able.diffusion
    assert able.embedded
    assert "16:9" in able.aspect_ratios
    assert warm.capabilities("second").model == "second"
    for port in (ImageProvider, DrawsByStyle, Completes, Ordered):
        assert isinstance(warm, port)


def test_a_checkpoint_is_found_by_the_beginning_of_its_name(tiny):
    """Whatever its case and punctuation; none and several are told with those there are."""
    file = Checkpoint(file=tiny.first)
    names = {"RealVisXL_V4.0": file, "animagine-xl-3.1": file, "animagine-xl-4.0": file}
    some = SdxlProvider(SdxlOptions(checkpoints=names, config=tiny.config), digests=tiny.root / "d")
    assert some.model_for("") == "RealVisXL_V4.0"
    assert some.model_for("realvis") == "RealVisXL_V4.0"
    assert some.model_for("Animagine XL 3") == "animagine-xl-3.1"
    assert some.model_for("animagine-xl-4.0") == "animagine-xl-4.0"
    for asked, told in (("animagine", "several"), ("dream", "no checkpoint"), ("--", "several")):
        with pytest.raises(UnsupportedRequest, match=told) as caught:
            some.model_for(asked)
        assert "RealVisXL_V4.0, animagine-xl-3.1" in str(caught.value)


def test_settings_off_the_ladder_are_refused(tiny):
    with pytest.raises(ValueError, match="bucket is one of 1, 2, 4, 8"):
        options(tiny, bucket=3)


# --- completing ----------------------------------------------------------------------------------


def test_completed_requests_say_all_that_decides_the_picture(warm, tiny, parts):
    """The checkpoint's own settings, what is wished over them, and the digest of every file."""
    plain = settled(warm)
    assert (plain.steps, plain.guidance, plain.sampler) == (2, 5, "euler")
    assert (plain.control, plain.strength, plain.loras, plain.bucket) == ("none", None, (), 1)
    vae = tiny.vae / "diffusion_pytorch_model.safetensors"
    assert plain.weights == {
        "checkpoint": digest_of(tiny.first.read_bytes()), "vae": digest_of(vae.read_bytes()),
    }  # fmt: skip
    wish = DiffusionWish(
        steps=9, guidance=0, sampler="euler_a", control_scale=0.3, loras=("ink:0.5",)
    )
    full = settled(warm, wish=wish, **REFERENCES)
    assert (full.steps, full.guidance, full.sampler) == (9, 0, "euler_a")
    assert (full.control, full.control_scale, full.strength) == ("canny", 0.3, None)
    assert full.loras == (LoraUse(name="ink", weight=0.5),)
    assert set(full.weights) == {"checkpoint", "vae", "control", "lora:ink"}
    assert full.weights["lora:ink"] == digest_of(parts["loras"]["ink"].read_bytes())
    assert full.recipe == provider_module.RECIPE


def test_completing_again_changes_no_key(warm):
    """Nor does the scale of a control that is not used; another row changes what its group is drawn in."""
    rows = [asking(prompt=f"fox {at}", seed=at) for at in range(3)]
    wishes = [None, DiffusionWish(control_scale=0.1), None]
    once = warm.completed(rows, wishes)
    assert [each.diffusion.bucket for each in once] == [4, 4, 4]
    again = warm.completed(once, wishes)
    assert [each.key for each in again] == [each.key for each in once]
    others = warm.completed([*rows, asking(model="second"), asking(prompt="x")], [None] * 5)
    assert [each.diffusion.bucket for each in others] == [4, 4, 4, 1, 4]
    assert [each.key for each in others[:3]] == [each.key for each in once]
    assert settled(warm).bucket == 1


def test_another_file_under_the_same_name_is_another_key(provider, tiny, tmp_path):
    import shutil

    path = tmp_path / "own.safetensors"
    made = provider(checkpoints={"first": Checkpoint(file=path)})
    keys = set()
    for file in (tiny.first, tiny.second):
        shutil.copy(file, path)
        keys.add(made.completed([asking()], [None])[0].key)
    assert len(keys) == 2


def test_a_depth_model_is_in_the_key_of_what_it_sees(provider, parts, tmp_path):
    """Its file decides the picture as the ControlNet's does."""
    from tests.sdxl.test_generate import save_depth_model

    net = {"controls": {"depth": parts["controls"]["canny"]}}
    wish = DiffusionWish(control="depth")
    without = settled(provider(**net), wish=wish, **REFERENCES)
    folder = save_depth_model(tmp_path / "depth")
    with_it = settled(provider(**net, depth_model=folder), wish=wish, **REFERENCES)
    assert set(with_it.weights) - set(without.weights) == {"depth"}


@pytest.mark.parametrize(
    ("nets", "setting", "wish", "found"),
    [
        (True, None, {}, ("canny", None)),
        (True, None, {"strength": 0.4}, ("none", 0.4)),
        (True, None, {"strength": 0.5, "control": "canny"}, ("canny", 0.5)),
        (True, None, {"control": "none"}, ("none", 0.6)),
        (True, "none", {}, ("none", 0.6)),
        (False, None, {}, ("none", 0.6)),
    ],
)
def test_a_reference_is_used_as_is_configured(nets, setting, wish, found, provider, parts):
    """Its edges where there is a ControlNet for them and nothing else was said; else itself, changed."""
    made = provider(control=setting, **(parts if nets else {}))
    # Six of ten steps: a strength that leaves no step is refused.
    how = settled(made, wish=DiffusionWish(steps=10, **wish), **REFERENCES)
    assert (how.control, how.strength) == found


@pytest.mark.parametrize(
    ("wish", "changes", "told"),
    [
        ({"control": "canny"}, {}, "no reference image was given"),
        ({"strength": 0.5}, {}, "no reference image to start from"),
        ({"control": "depth"}, REFERENCES, "no ControlNet for depth; configured: canny"),
        ({"loras": ("oil",)}, {}, "no LoRA 'oil'"),
        ({"steps": 3, "strength": 0.3}, REFERENCES, "Of 3 steps a strength of 0.3 leaves none"),
    ],
)
def test_what_cannot_be_met_is_refused_at_the_door(wish, changes, told, warm):
    """Before anything is drawn, with what to do."""
    with pytest.raises(UnsupportedRequest, match=told) as caught:
        settled(warm, wish=DiffusionWish(**wish), **changes)
    assert caught.value.remedy


def test_the_resident_checkpoint_is_asked_for_first(warm):
    """Where an engine runs; the others by how many wait for them."""
    names = ["second", "third", "first", "second", "third", "third"]
    requests = warm.completed([asking(model=name) for name in names], [None] * 6)
    asyncio.run(warm.generate(asking(model="second")))
    assert list(warm.order(requests)) == [0, 3, 1, 4, 5, 2]


def test_without_an_engine_order_and_report_start_none(provider):
    made = provider()
    requests = made.completed(
        [asking(), asking(model="second"), asking(model="second")], [None] * 3
    )
    assert list(made.order(requests)) == [1, 2, 0]
    assert made.report().images == 0
    assert engines.running_engines() == []


# --- drawing -------------------------------------------------------------------------------------


async def test_an_image_says_how_it_was_made(warm):
    """Its seed, its settings and what each part took; it costs nothing; the same again is the same."""
    made = await warm.generate(asking(seed=None))
    assert made.cost_usd == 0
    assert (made.media_type, made.model) == ("image/png", "first")
    assert 0 <= made.seed < 2**31
    facts = made.facts
    assert (facts["steps"], facts["guidance"], facts["sampler"], facts["bucket"]) == (
        2,
        5,
        "euler",
        1,
    )
    for name in (
        "queue",
        "checkpoint",
        "encode",
        "denoise",
        "decode",
        "preprocess",
        "generate",
        "postprocess",
    ):
        assert facts[f"{name}_s"] >= 0
    assert facts["generate_s"] >= facts["denoise_s"] > 0
    again = await warm.generate(asking(seed=None))
    other = await warm.generate(asking(seed=None, sample=1))
    assert (again.data, again.seed) == (made.data, made.seed)
    assert other.seed != made.seed
    assert warm.report().images >= 3


async def test_requests_of_a_run_share_calls(warm):
    """Five of a group at once in buckets of four are two calls; each gets its own picture."""
    rows = [asking(prompt=f"a fox {at}", seed=at) for at in range(5)]
    requests = warm.completed(rows, [None] * 5)
    before = warm.report().calls
    made = await asyncio.gather(*(warm.generate(each) for each in requests))
    assert len({each.data for each in made}) == 5
    assert warm.report().calls - before == 2
    assert [each.seed for each in made] == [0, 1, 2, 3, 4]


async def test_a_reference_image_is_seen(warm):
    """By its edges, in itself, and not at all: three pictures."""
    seen = set()
    for wish in (None, DiffusionWish(strength=0.6)):
        [request] = warm.completed([asking(**REFERENCES)], [wish])
        seen.add((await warm.generate(request, [REFERENCE])).data)
    seen.add((await warm.generate(asking())).data)
    assert len(seen) == 3
    [request] = warm.completed([asking(**REFERENCES)], [None])
    with pytest.raises(RequestError, match="damaged"):
        await warm.generate(request, [REFERENCE[:100]])


async def test_a_long_prompt_is_drawn_whole(warm):
    """Its last word counts, far beyond 77 tokens."""
    words = "a red fox in the deep snow of the north, " * 8
    one, other = [await warm.generate(asking(prompt=words + end)) for end in ("a", "b")]
    assert one.data != other.data


async def test_who_stops_waiting_stops_the_drawing(provider):
    """A cancelled request leaves the queue, and others are drawn; a closed engine says so."""
    made = provider()
    await made.generate(asking())
    slow = asyncio.create_task(made.generate(asking(seed=1, prompt="slow")))
    long = made.completed([asking(seed=2)], [DiffusionWish(steps=150)])[0]
    longest = asyncio.create_task(made.generate(long))
    [engine] = engines._engines.values()
    await asyncio.to_thread(until, lambda: engine.report().steps == 150)
    slow.cancel()
    longest.cancel()
    for task in (slow, longest):
        try:
            await task
        except asyncio.CancelledError:
            continue
    assert (await made.generate(asking(seed=3))).data
    assert engine.report().calls <= 4
    waits = asyncio.create_task(made.generate(long))
    await asyncio.to_thread(until, lambda: engine.report().steps == 150)
    await asyncio.to_thread(engines.close_engines)
    with pytest.raises(RunStopped):
        await waits


async def test_prompts_are_in_no_log_and_no_error(provider, caplog):
    """At any level, when it works and when it fails."""
    secret = "canarysecret"
    with caplog.at_level(logging.DEBUG):
        made = provider()
        await made.generate(asking(prompt=f"{secret} fox", negative_prompt=secret))
        broken = made.completed([asking(prompt=secret)], [None])[0].diffusion
        lost = broken.model_copy(update={"loras": (LoraUse(name="gone"),)})
        with pytest.raises(ProviderMisconfigured, match="no LoRA 'gone'") as caught:
            await made.generate(asking(prompt=secret, diffusion=lost))
    assert secret not in caplog.text + repr(caught.value) + str(caught.value)


# --- engines -------------------------------------------------------------------------------------


async def test_equal_options_share_one_engine(tiny, provider):
    """It stays warm from run to run: nothing is loaded twice. A closed one is replaced."""
    for _ in range(2):
        made = provider()
        await made.generate(asking())
        await made.aclose()
    [engine] = engines.running_engines()
    assert engine.report().loads == {"first": 1}
    one = engines.engine_of(options(tiny))
    one.close()
    other = engines.engine_of(options(tiny))
    assert other is not one
    assert isinstance(other, Engine)


def test_memory_figures_of_the_cpu_are_its_name(tiny):
    """And a cap for a smaller card is none there."""
    from imagemill.providers.sdxl.loading import place_of

    place = place_of(options(tiny))
    cap(place, 8)
    assert figures(place) == {"device": "cpu"}
