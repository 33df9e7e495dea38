"""The tiny SDXL walks the roads of the real one: single file, config folder, VAE, ControlNet, LoRA."""

import pickle

import numpy as np
import pytest

SIZE = {"height": 64, "width": 64, "num_inference_steps": 2, "guidance_scale": 5.0}
WORDS = {"prompt": "a red fox", "negative_prompt": "blurry"}


def load(checkpoint, config, **more):
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_single_file(
        str(checkpoint), config=str(config), local_files_only=True, add_watermarker=False, **more
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe, *, seed=7, **more):
    import torch

    generator = [torch.Generator("cpu").manual_seed(seed)]
    asked = {**WORDS, **SIZE, "generator": generator, "output_type": "np", **more}
    return np.round(pipe(**asked).images[0] * 255).astype(np.uint8)


def same_weights(module, other):
    import torch

    ours, theirs = module.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.fixture(scope="module")
def loaded(tiny):
    return load(tiny.first, tiny.config)


def test_a_single_file_loads_back_whole_without_the_network(loaded):
    """Every part of the file equals the part it was written from, the baked-in VAE too."""
    from bench import tiny_sdxl

    parts = tiny_sdxl.components(0)
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        assert same_weights(getattr(loaded, name), parts[name]), name
    for name in ("tokenizer", "tokenizer_2"):
        ids = getattr(loaded, name)("the fox, 여우 🦊").input_ids
        assert ids == parts[name]("the fox, 여우 🦊").input_ids
        assert getattr(loaded, name).pad_token == parts[name].pad_token
    assert loaded.scheduler.config.timestep_spacing == "leading"


def test_it_draws_what_the_pipeline_in_memory_draws(loaded, tiny):
    """The same words and seed give the same pixels; another checkpoint or seed gives others."""
    from bench import tiny_sdxl

    picture = draw(loaded)
    assert picture.shape == (64, 64, 3)
    assert np.ptp(picture) > 20
    np.testing.assert_array_equal(picture, draw(tiny_sdxl.make_pipeline(0)))
    np.testing.assert_array_equal(picture, draw(loaded))
    assert not np.array_equal(picture, draw(loaded, seed=8))
    assert not np.array_equal(picture, draw(load(tiny.second, tiny.config)))


def test_a_checkpoint_without_a_vae_takes_one_from_outside(loaded, tiny, tmp_path):
    """`vae=False` leaves it out of the file; the folder and the single-file VAE are the same one."""
    from diffusers import AutoencoderKL
    from safetensors import safe_open

    from bench import tiny_sdxl

    bare = tiny_sdxl.save_checkpoint(tmp_path, seed=0, name="bare", vae=False)
    with safe_open(bare, "pt") as file:
        assert not any(key.startswith("first_stage_model.") for key in file.keys())  # noqa: SIM118
    vae = AutoencoderKL.from_pretrained(tiny.vae)
    file = tiny_sdxl.save_vae(tmp_path, single_file=True)
    config = str(tiny.config)
    again = AutoencoderKL.from_single_file(str(file), config=config, subfolder="vae")
    assert same_weights(vae, again)
    pipe = load(bare, tiny.config, vae=vae)
    assert pipe.vae is vae
    assert not np.array_equal(draw(pipe), draw(loaded))


@pytest.mark.parametrize("union", [False, True])
def test_a_control_image_changes_the_picture(loaded, tmp_path, union):
    """Both kinds load back and are felt; a scale of 0 leaves the picture as it was."""
    import diffusers
    from PIL import Image

    from bench import tiny_sdxl

    kind = "Union" if union else ""
    folder = tiny_sdxl.save_controlnet(tmp_path / "net", union=union)
    net = getattr(diffusers, f"ControlNet{kind}Model").from_pretrained(folder)
    pipeline = getattr(diffusers, f"StableDiffusionXLControlNet{kind}Pipeline")
    pipe = pipeline(**loaded.components, controlnet=net, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    noise = np.random.default_rng(3).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    asked = {"control_image": [image], "control_mode": [3]} if union else {"image": image}
    plain = draw(loaded)
    assert not np.array_equal(draw(pipe, **asked), plain)
    off = draw(pipe, **asked, controlnet_conditioning_scale=0.0)
    np.testing.assert_array_equal(off, plain)


def test_a_lora_changes_the_picture_by_its_weight(tiny, tmp_path):
    """Two names are two LoRAs; taken out again, the picture is the old one."""
    from bench import tiny_sdxl

    pipe = load(tiny.first, tiny.config)
    plain = draw(pipe)
    pictures = [plain]
    for name in ("ink", "oil"):
        pipe.load_lora_weights(str(tiny_sdxl.save_lora(tmp_path, name=name)), adapter_name=name)
        for weight in (1.0, 0.5):
            pipe.set_adapters([name], [weight])
            pictures.append(draw(pipe))
    assert len({picture.tobytes() for picture in pictures}) == 5
    pipe.unload_lora_weights()
    np.testing.assert_array_equal(draw(pipe), plain)


def test_wrong_files_are_wrong(tiny, tmp_path):
    """None of them loads as SDXL, and the poisoned one really would have run code."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from bench import tiny_sdxl

    wrong = tiny_sdxl.save_wrong_architecture(tmp_path)
    assert "model.diffusion_model.out.2.weight" in load_file(wrong)
    poisoned = tiny_sdxl.save_pickle(tmp_path)
    for path in (tiny_sdxl.save_truncated(tmp_path), poisoned):
        with pytest.raises(SafetensorError):
            load_file(path)
    for path in (wrong, poisoned):
        with pytest.raises(Exception):  # noqa: B017, PT011  diffusers has no error of its own
            load(path, tiny.config)
    witness = poisoned.with_suffix(".ran")
    assert not witness.exists()
    pickle.loads(poisoned.read_bytes())["state_dict"].close()
    assert witness.exists()
