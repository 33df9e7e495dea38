"""What `make setup-gpu` installed is SDXL: its sizes, its sampler, and CLIP's very tokens."""

import json
import shutil

import pytest

from blocks.settings import shared_sdxl_config
from imagemill.providers.sdxl.config_folder import INDEX, SHIPPED
from imagemill.providers.sdxl.prompt_syntax import parse
from imagemill.providers.sdxl.prompting import chunk_tokens
from imagemill.providers.sdxl.tokenizers import ENTRIES, MERGES
from tests.conftest import skip_or_fail


@pytest.fixture(scope="module")
def config():
    folder = shared_sdxl_config()
    if not (folder / INDEX).is_file():
        skip_or_fail("SDXL's config folder is not there: make setup-gpu")
    return folder


@pytest.fixture(scope="module")
def tokenizers(config):
    from transformers import CLIPTokenizer

    names = ("tokenizer", "tokenizer_2")
    return [CLIPTokenizer.from_pretrained(config / name) for name in names]


def parameters(module):
    return sum(each.numel() for each in module.parameters())


def test_the_installed_folder_is_the_shipped_one(config):
    """Nothing of the package's own files is missing or older there."""
    for path in SHIPPED.rglob("*.json"):
        assert (config / path.relative_to(SHIPPED)).read_bytes() == path.read_bytes()


def test_the_parts_have_sdxls_sizes():
    """Built without memory, they count the parameters of the published checkpoints."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(SHIPPED / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(SHIPPED / "vae"))
        first = CLIPTextModel(CLIPTextConfig.from_pretrained(SHIPPED / "text_encoder"))
        second = CLIPTextModelWithProjection(
            CLIPTextConfig.from_pretrained(SHIPPED / "text_encoder_2")
        )
    assert parameters(unet) == 2_567_463_684
    assert parameters(first) == 123_060_480
    assert parameters(second) == 694_659_840
    assert parameters(vae) == 83_653_863
    assert (vae.config.scaling_factor, vae.config.force_upcast) == (0.13025, True)
    scheduler = EulerDiscreteScheduler.from_pretrained(SHIPPED / "scheduler")
    scheduler.set_timesteps(30)
    assert [int(step) for step in scheduler.timesteps[:3]] == [958, 925, 892]
    left = scheduler.alphas_cumprod[-1]
    assert float((1 - left) / left) ** 0.5 == pytest.approx(14.6146, abs=1e-3)


def test_the_tokens_are_clips(tokenizers):
    """Known words give the known ids; both read alike and pad differently."""
    first, second = tokenizers
    assert first("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert first("A PHOTO  of\na cat").input_ids == first("a photo of a cat").input_ids
    assert second("a photo of a cat").input_ids == first("a photo of a cat").input_ids
    assert first.convert_tokens_to_ids(",</w>") == 267
    for tokenizer, padding in ((first, 49407), (second, 0)):
        assert len(tokenizer) == ENTRIES
        assert tokenizer.model_max_length == 77
        padded = tokenizer("a cat", padding="max_length").input_ids
        assert padded == [49406, 320, 2368, 49407, *[padding] * 73]
    assert first("wow!!").input_ids[-2:] == [int(first.convert_tokens_to_ids("!!</w>")), 49407]
    assert second("wow!!").input_ids[-3:] == [0, 0, 49407]  # padding is a special token
    words = "여우 🦊 naïve 8k masterpiece"
    assert second(words).input_ids == first(words).input_ids
    assert first.decode(first(words).input_ids, skip_special_tokens=True) == words.replace(
        "8k", "8 k"
    )


def test_the_files_count_what_clip_counts(config):
    """48,894 merges and 49,408 tokens, numbered without a gap."""
    for name in ("tokenizer", "tokenizer_2"):
        vocabulary = json.loads((config / name / "vocab.json").read_text("utf-8"))
        assert sorted(vocabulary.values()) == list(range(ENTRIES))
        merges = (config / name / "merges.txt").read_text("utf-8").splitlines()
        assert len(merges) == MERGES + 1
        assert merges[1] == "i n"


def test_a_long_prompt_is_cut_at_its_commas(tokenizers):
    """With the real words, too: no chunk is over 75, none is torn within a phrase."""
    prompt = ", ".join(["masterpiece", "best quality", "very aesthetic", "1girl"] * 20)
    for tokenizer in tokenizers:
        chunks = chunk_tokens(tokenizer, parse(prompt))
        assert len(chunks) > 2
        assert all(chunk[-1][0] == 267 for chunk in chunks[:-1])
        assert all(55 < len(chunk) <= 75 for chunk in chunks[:-1])


def test_a_tiny_checkpoint_with_these_tokenizers_loads_offline(config, tiny, tmp_path):
    """`from_single_file` accepts the files in this form, not only as transformers would save them."""
    from diffusers import StableDiffusionXLPipeline

    folder = shutil.copytree(tiny.config, tmp_path / "config")
    for name in ("tokenizer", "tokenizer_2"):
        shutil.rmtree(folder / name)
        shutil.copytree(config / name, folder / name)
    pipe = StableDiffusionXLPipeline.from_single_file(
        str(tiny.first), config=str(folder), local_files_only=True
    )
    assert pipe.tokenizer_2("a cat", padding="max_length").input_ids[4:6] == [0, 0]
