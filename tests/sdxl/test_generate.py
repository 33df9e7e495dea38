"""What is drawn: the same picture wherever it stands in its bucket, and what plain diffusers draws."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from imagemill.diffusion import Diffusion
from imagemill.providers.sdxl.buckets import group_of
from imagemill.providers.sdxl.engine import Engine
from imagemill.providers.sdxl.frame import Bench, Frame
from imagemill.providers.sdxl.generate import Generate
from imagemill.providers.sdxl.postprocess import Postprocess
from imagemill.providers.sdxl.preprocess import Preprocess, _fitted, edges
from imagemill.providers.sdxl.samplers import scheduler
from imagemill.providers.sdxl.sizes import RATIOS_1K, pixel_size
from imagemill.providers.sdxl.tally import Tally
from imagemill.providers.sdxl.ticket import seed_of
from imagemill.providers.sdxl.weights import Weights
from tests.builders import image_request
from tests.sdxl.asking import asked, drawn, frames, fresh, options, pixels, png

SAMPLERS = ("euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "dpmpp_2m_sde_karras")


@pytest.fixture(scope="module")
def engine(tiny):
    """One engine for all: full buckets go at once, others are padded after a moment."""
    made = Engine(options(tiny, linger_s=0.1))
    yield made
    made.close()


@pytest.fixture(scope="module")
def diffusers_own(tiny):
    """Diffusers' own pipeline, loaded without any of our code."""
    from diffusers import AutoencoderKL, StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_single_file(
        str(tiny.first), config=str(tiny.config), local_files_only=True, add_watermarker=False,
        vae=AutoencoderKL.from_pretrained(tiny.vae),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    pipe.known = dict(pipe.scheduler.config)
    return pipe


def plain(pipe, request):
    """What diffusers draws by itself from the same words, seed and settings."""
    import torch

    how = request.diffusion
    pipe.scheduler = scheduler(how.sampler, pipe.known)
    picture = pipe(
        prompt=request.prompt, negative_prompt=request.negative_prompt, width=64,
        height=64, num_inference_steps=how.steps, guidance_scale=how.guidance,
        generator=torch.Generator("cpu").manual_seed(request.seed), output_type="np",
    ).images[0]  # fmt: skip
    return np.round(picture * 255)


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "dpmpp_2m_sde_karras"])
def test_an_image_does_not_depend_on_its_neighbours(engine, sampler):
    """Bit for bit: in a full bucket, in a padded one, in another place, beside other words."""
    one = asked(seed=5, bucket=4, sampler=sampler)
    others = [asked(f"{at} whales", seed=at, bucket=4, sampler=sampler) for at in range(3)]
    full = drawn(engine, [one, *others])[0]
    last = drawn(engine, [*others, one])[3]
    alone = drawn(engine, [one])[0]
    assert full == last == alone


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_in_bucket_1_it_is_what_plain_diffusers_draws(engine, diffusers_own, sampler):
    """Within one step of 255, with the same sampler, seed and words."""
    request = asked("a fox, the snow", seed=11, sampler=sampler, steps=3)
    ours = pixels(drawn(engine, [request])[0])
    assert np.ptp(ours) > 20
    assert np.abs(ours - plain(diffusers_own, request)).max() <= 1


def test_the_same_seed_is_the_same_picture(engine, tiny):
    """Twice, and in another engine; another seed, step or guidance is another picture."""
    once, again, other = drawn(engine, [asked(seed=1), asked(seed=1), asked(seed=2)])
    assert once == again == fresh(options(tiny), [asked(seed=1)])[0]
    more = drawn(engine, [asked(seed=1, steps=3), asked(seed=1, guidance=3), asked("x", seed=1)])
    assert len({once, other, *more}) == 5


def test_without_a_seed_one_follows_from_the_request():
    """The same again, another for another sample; how it is drawn and with whom does not count."""

    def seed(**changes):
        return seed_of(image_request(provider="sdxl", **changes))

    assert seed() == seed()
    assert 0 <= seed() < 2**31
    assert len({seed(), seed(sample=1), seed(sample=2), seed(prompt="a hen")}) == 4
    how = Diffusion(steps=2, guidance=5, sampler="euler")
    assert seed(diffusion=how) == seed(diffusion=how.model_copy(update={"bucket": 4})) == seed()
    assert seed(seed=0) == 0
    assert seed(seed=2**31 - 1) == 2**31 - 1


def test_every_size_and_ratio_has_the_sides_it_says(engine):
    """Multiples of 8, near the ratio; two of them drawn."""
    for ratio, (width, height) in RATIOS_1K.items():
        w, h = map(int, ratio.split(":"))
        assert abs(width / height / (w / h) - 1) < 0.05
        for size, side in (("256", 256), ("512", 512), ("1K", 1024)):
            got = pixel_size(size, ratio)
            assert all(each % 8 == 0 for each in got)
            assert abs(got[0] * got[1] / side**2 - 1) < 0.12
    for ratio in ("21:9", "9:16"):
        request = asked().model_copy(update={"aspect_ratio": ratio})
        height, width, _ = pixels(drawn(engine, [request])[0]).shape
        assert (width, height) == pixel_size("1K", ratio, native_px=64)


def test_pictures_are_bare_png(engine):
    """Three channels and no notes in them: equal pictures are equal bytes; sides as in the facts."""
    frame = frames(engine, [asked()])[0]
    with Image.open(io.BytesIO(frame.data)) as opened:
        assert (opened.format, opened.mode, opened.size, opened.info) == (
            "PNG",
            "RGB",
            (64, 64),
            {},
        )
    assert {"bucket", "queue_s", "checkpoint_s", "encode_s", "denoise_s", "decode_s"} <= set(
        frame.facts
    )
    assert set(frame.seconds) == {"preprocess", "generate", "postprocess"}
    assert frame.pixels is None


class Watching(Generate):
    """Notes in which precision the VAE decodes, and in which it is left."""

    def __init__(self):
        self.dtypes, self.left_in = [], set()

    def run(self, frames, bench):
        vae = bench.drawer.vae
        real = vae.decode

        def decode(latents, **more):
            self.dtypes.append((str(latents.dtype), str(vae.dtype)))
            return real(latents, **more)

        vae.decode = decode
        try:
            return super().run(frames, bench)
        finally:
            del vae.decode
            self.left_in.add(str(vae.dtype))


@pytest.mark.parametrize(
    ("dtype", "upcast", "decoded_in"),
    [("float16", True, "float32"), ("float16", False, "float16"), ("bfloat16", True, "bfloat16")],
)
def test_a_vae_that_overflows_in_float16_decodes_in_float32(
    dtype, upcast, decoded_in, tiny, tmp_path
):
    """Where its config says so; afterwards it is what it was, so that the next picture is the same.

    Image to image, which encodes with it too, changes nothing about it either.
    """
    shutil.copytree(tiny.vae, tmp_path / "vae")
    config = json.loads((tmp_path / "vae" / "config.json").read_text())
    (tmp_path / "vae" / "config.json").write_text(json.dumps({**config, "force_upcast": upcast}))
    watching = Watching()
    one = Engine(
        options(tiny, vae=tmp_path / "vae", dtype=dtype),
        nodes=(Preprocess(), watching, Postprocess()),
    )
    try:
        before = drawn(one, [asked()])
        drawn(one, [asked(strength=0.6)], references=[png()])
        assert drawn(one, [asked()]) == before
    finally:
        one.close()
    assert watching.left_in == {f"torch.{dtype}"}
    assert set(watching.dtypes) == {(f"torch.{decoded_in}", f"torch.{decoded_in}")}


# --- reference images ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    from safetensors.torch import load_file, save_file

    from bench import tiny_sdxl

    root = tmp_path_factory.mktemp("nets")
    union = tiny_sdxl.save_controlnet(root / "union", union=True)
    file = union / "diffusion_pytorch_model.safetensors"
    # As they are drawn, what its transformer says of a picture is lost in rounding.
    loud = ("transformer_layes", "spatial_ch_projs")
    state = {
        key: each * (5 if key.startswith(loud) else 1) for key, each in load_file(file).items()
    }
    save_file(state, file)
    return {"one": tiny_sdxl.save_controlnet(root / "one"), "union": union}


@pytest.fixture(scope="module", params=["one", "union"])
def guided(request, tiny, nets):
    """An engine with a ControlNet for edges and depth, apart or as one for all."""
    net = nets[request.param]
    controls = {"union": net} if request.param == "union" else {"canny": net, "depth": net}
    made = Engine(options(tiny, controls=controls, linger_s=0.1))
    yield made
    made.close()


BOX = {"box": (8, 8, 40, 56)}


def test_a_controlnet_keeps_what_it_is_shown(guided):
    """Another reference, kind or scale is another picture; with a strength it starts from it, too."""
    box, other = [png(**BOX)], [png(box=(30, 4, 60, 60))]
    seen = {drawn(guided, [asked()])[0]}
    for references, how in (
        (box, {"control": "canny"}),
        (other, {"control": "canny"}),
        (box, {"control": "canny", "control_scale": 0.4}),
        (box, {"control": "depth"}),
        (box, {"control": "canny", "strength": 0.6}),
        (box, {"control": "depth", "strength": 0.6}),
        (box, {"strength": 0.6}),
        (box, {"strength": 1.0}),
        (other, {"strength": 0.6}),
    ):
        seen.add(drawn(guided, [asked(**how)], references=references)[0])
    assert len(seen) == 10
    assert guided.report().seconds["control"] > 0


def test_at_scale_0_it_is_text_to_image(guided):
    """Bit for bit: what is not to be felt is not."""
    off = asked(control="canny", control_scale=0)
    assert drawn(guided, [off], references=[png()]) == drawn(guided, [asked()])


@pytest.mark.parametrize(
    "how", [{"control": "canny"}, {"control": "canny", "strength": 0.6}, {"strength": 0.6}]
)
def test_a_guided_image_does_not_depend_on_its_neighbours(guided, how):
    """Nor on their references: each place is shown its own."""
    own = asked(seed=5, bucket=4, **how), png(**BOX)
    others = [(asked(seed=at, bucket=4, **how), png(seed=at)) for at in range(3)]
    full = together(guided, [own, *others])
    assert full[0] == together(guided, [own])[0] == together(guided, [*others, own])[3]
    assert len(set(full)) == 4


def together(engine, asks):
    """The pixels of what one call of the nodes draws, without the engine's queue."""
    group = group_of(asks[0][0])._replace(chunks=1)
    frames = [
        Frame(request, (reference,), group, seed=request.seed, width_px=64, height_px=64)
        for request, reference in asks
    ]
    weights = Weights(engine.options, engine.place, Tally())
    bench = Bench(drawer=weights.drawer_for(group))
    done = Generate().run(Preprocess().run(frames, bench), bench)
    return [frame.pixels.tobytes() for frame in done]


def test_a_guided_image_is_what_plain_diffusers_draws(guided, diffusers_own, nets):
    """With the edges as diffusers is given them; within one step of 255."""
    import diffusers
    import torch

    union = "union" in guided.options.controls
    kind = "Union" if union else ""
    net = getattr(diffusers, f"ControlNet{kind}Model").from_pretrained(
        nets["union" if union else "one"]
    )
    pipe = getattr(diffusers, f"StableDiffusionXLControlNet{kind}Pipeline")(
        **diffusers_own.components, controlnet=net, add_watermarker=False
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = scheduler("euler", diffusers_own.known)
    seen = edges(Image.fromarray(pixels(png(**BOX))))
    shown = {"control_image": [seen], "control_mode": [3]} if union else {"image": seen}
    picture = pipe(
        prompt="a red fox", negative_prompt="blurry", num_inference_steps=2, guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(7), output_type="np",
        controlnet_conditioning_scale=0.7, height=64, width=64, **shown,
    ).images[0]  # fmt: skip
    request = asked(control="canny", control_scale=0.7)
    ours = pixels(drawn(guided, [request], references=[png(**BOX)])[0])
    assert np.abs(ours - np.round(picture * 255)).max() <= 1


def test_depth_is_estimated_where_a_model_is_given(tiny, nets, tmp_path):
    """Without one the reference is the depth map; with one it is made from it, grey, of its size."""
    from imagemill.errors import ProviderMisconfigured
    from imagemill.providers.sdxl.depth import estimator
    from imagemill.providers.sdxl.loading import place_of

    folder = save_depth_model(tmp_path / "depth")
    taken = options(tiny, controls={"depth": nets["one"]})
    estimated = options(tiny, controls={"depth": nets["one"]}, depth_model=folder)
    request, references = asked(control="depth"), [png(**BOX)]
    assert fresh(taken, [request], references=references) != fresh(
        estimated, [request], references=references
    )
    depth = estimator(folder, place_of(estimated))
    found = depth(Image.fromarray(pixels(png((96, 64)))))
    assert (found.mode, found.size) == ("L", (96, 64))
    assert np.ptp(np.asarray(found)) > 100
    (folder / "config.json").write_text("{}")
    with pytest.raises(ProviderMisconfigured, match=f"The depth model {folder} does not load"):
        estimator(folder, place_of(estimated))


def save_depth_model(folder):
    """A tiny random DPT."""
    import torch
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
        image_size=32, patch_size=16, backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, reassemble_factors=[4, 2, 1, 0.5],
        is_hybrid=False,
    )  # fmt: skip
    model = DPTForDepthEstimation(config)
    for part in model.head.head[2:]:
        if hasattr(part, "weight"):
            torch.nn.init.normal_(part.weight, 1, 1)
            torch.nn.init.ones_(part.bias)
    model.save_pretrained(folder)
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_a_controlnet_may_be_one_file(tiny, tmp_path):
    """In diffusers' layout; read in place, and felt."""
    import torch
    from diffusers import ControlNetModel
    from safetensors.torch import save_file

    from bench import tiny_sdxl

    torch.manual_seed(3)
    net = ControlNetModel.from_unet(tiny_sdxl.make_unet())
    for zero in (*net.controlnet_down_blocks, net.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(zero.weight, 0, 0.05)
    path = tmp_path / "net.safetensors"
    save_file(net.state_dict(), path)
    some = options(tiny, controls={"canny": path})
    on, off = (asked(control="canny", control_scale=scale) for scale in (1.0, 0.0))
    assert len(set(fresh(some, [on, off, asked()], references=[png(**BOX)]))) == 2


def test_a_reference_is_cropped_about_its_middle_and_turned_upright():
    """To the picture's sides; a phone's photograph stands as it is seen; edges are white on black."""
    wide = pixels(png((128, 64), box=(32, 0, 96, 64)))
    assert np.asarray(_fitted(png((128, 64), box=(32, 0, 96, 64)), (64, 64))).min() == 255
    lying, out = Image.fromarray(wide), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right to see it
    lying.save(out, "JPEG", exif=exif)
    assert _fitted(out.getvalue(), (32, 64)).size == (32, 64)
    upright = np.asarray(_fitted(out.getvalue(), (64, 128)).convert("L"))
    assert upright[64].mean() > 200
    assert upright[4].mean() < 50
    found = np.asarray(edges(Image.fromarray(pixels(png(**BOX)))))
    assert found.shape == (64, 64, 3)
    assert set(np.unique(found)) == {0, 255}
    assert found[20:40, 20:30].max() == 0
