"""Wrong files are told by their headers, before the first image and before torch sees them."""

import json
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest

from imagemill.diffusion import DiffusionWish
from imagemill.errors import ProviderMisconfigured
from imagemill.providers.sdxl import files
from imagemill.providers.sdxl.provider import SdxlProvider
from tests.builders import image_request
from tests.sdxl.asking import options

FIRST = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.fixture
def provider(tiny, tmp_path):
    """Makes a provider; its engine is never started here."""

    def made(**changes):
        return SdxlProvider(options(tiny, **changes), digests=tmp_path / "digests.json")

    return made


def with_first(tiny, path):
    """The options' checkpoints with another file as the first."""
    known = options(tiny).checkpoints
    return {"checkpoints": {**known, "first": known["first"].model_copy(update={"file": path})}}


def planned(provider):
    """Plan one image by the first checkpoint and every LoRA: what a run does before it begins."""
    wish = DiffusionWish(loras=tuple(provider._options.loras))
    return provider.completed([image_request(provider="sdxl", model="first")], [wish])


def rewritten(source, target, change):
    """Copy a checkpoint with its tensors (by name) changed by a function."""
    from safetensors.torch import load_file, save_file

    state = load_file(source)
    save_file(change(state) or state, target)
    return target


def only(*names):
    """A file with just these tensors in it, 4 bytes each."""
    entries = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * at, 4 * at + 4]}
        for at, name in enumerate(names)
    }
    return safetensors(entries, bytes(4 * len(names)))


def safetensors(entries, data):
    head = json.dumps(entries).encode()
    return struct.pack("<Q", len(head)) + head + data


def inpainting(state):
    import torch

    state[FIRST] = torch.zeros(32, 9, 3, 3)


WRONG = {
    "a pickle": (b"\x80\x04\x95\x1e\x00\x00\x00\x00 and more of it", "is a pickle"),
    "torch's zip": (b"PK\x03\x04" + bytes(60), "is a pickle"),
    "empty": (b"", "is no safetensors file"),
    "a web page": (b"<!doctype html><p>Log in to download", "is no safetensors file"),
    "not JSON": (struct.pack("<Q", 8) + b"{broken}" + bytes(9), "broken header"),
    "a list": (struct.pack("<Q", 2) + b"[]" + bytes(9), "broken header"),
    "no tensors": (safetensors({}, b"12345678"), "broken header"),
    "odd offsets": (safetensors({"a": {"dtype": "F32", "data_offsets": "ab"}}, b""), "broken header"),
    "cut off": (only("a", "b")[:-5], "cut off: 5 bytes are missing"),
    "SD 1.5": (only(FIRST, "cond_stage_model.transformer.x"), "looks like Stable Diffusion 1.x"),
    "a LoRA": (only("lora_unet_down_blocks_0.lora_down.weight"), "looks like a LoRA"),
    "a new LoRA": (only("unet.down_blocks.0.to_q.lora_A.weight"), "looks like a LoRA"),
    "a VAE": (only("decoder.conv_in.weight", "encoder.conv_in.weight"), "looks like a VAE"),
    "a ControlNet": (only("controlnet_cond_embedding.conv_in.bias", "down_blocks.0"), "a ControlNet"),
    "Flux": (only("double_blocks.0.img_attn.qkv.weight"), "looks like Flux"),
    "anything": (only("something"), "is of another kind"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
async def test_a_file_of_another_kind_is_refused_with_what_it_is(kind, provider, tiny, tmp_path):
    """At the door, before any picture is planned; the remedy says what to give."""
    data, told = WRONG[kind]
    path = tmp_path / "wrong.safetensors"
    path.write_bytes(data)
    made = provider(**with_first(tiny, path))
    with pytest.raises(ProviderMisconfigured, match=told) as caught:
        planned(made)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    made.completed([image_request(provider="sdxl", model="second")], [None])  # that one is well


async def test_an_inpainting_model_is_refused_by_its_nine_channels(provider, tiny, tmp_path):
    path = rewritten(tiny.first, tmp_path / "inpainting.safetensors", inpainting)
    with pytest.raises(ProviderMisconfigured, match=r"\[32, 9, 3, 3\], not \[32, 4, 3, 3\]"):
        planned(provider(**with_first(tiny, path)))


def test_a_header_that_begins_like_a_pickle_is_none(tmp_path):
    """One file in 32 has a header of n x 256 + 128 bytes: its first byte is a pickle's."""
    entries = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    for first in (0x80, ord("P")):
        padded = json.dumps(entries).ljust(256 + first).encode()
        path = tmp_path / "whole.safetensors"
        path.write_bytes(struct.pack("<Q", len(padded)) + padded + bytes(4))
        assert set(files.header(path)) == {"a"}


def test_wrong_files_of_the_benchmarks_too(tiny, tmp_path):
    """The pickle is not opened: it would have left a file."""
    from bench import tiny_sdxl

    for save in (
        tiny_sdxl.save_wrong_architecture,
        tiny_sdxl.save_truncated,
        tiny_sdxl.save_pickle,
    ):
        with pytest.raises(ProviderMisconfigured):
            files.check_checkpoint(save(tmp_path), tiny.config, own_vae=False)
    assert not (tmp_path / "poisoned.ran").exists()


def test_headers_are_read_without_torch(tiny):
    """A form that checks a path must not wait seconds for it."""
    code = (
        "import sys; from pathlib import Path; from imagemill.providers.sdxl import files;"
        f"files.check_checkpoint(Path({str(tiny.first)!r}), Path({str(tiny.config)!r}), own_vae=True);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_missing_vae_is_told(provider, tiny, tmp_path):
    """Neither baked in nor configured; configured and not there; baked in is enough."""
    from bench import tiny_sdxl

    bare = tiny_sdxl.save_checkpoint(tmp_path, seed=0, name="bare", vae=False)
    with pytest.raises(ProviderMisconfigured, match="has no VAE in it, and none is configured"):
        planned(provider(vae=None, **with_first(tiny, bare)))
    with pytest.raises(ProviderMisconfigured, match=r"The VAE .*nowhere cannot be read"):
        planned(provider(vae=tmp_path / "nowhere"))
    planned(provider(vae=None))
    planned(provider(**with_first(tiny, bare)))


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("vae", "is no VAE"),
        ("controls", "is no canny ControlNet"),
        ("loras", "is no LoRA ink"),
    ],
)
async def test_each_part_is_told_by_what_is_in_it(field, told, provider, tmp_path):
    """A file of something else, one that is missing, a folder without config or weights."""
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(only("something"))
    folder = tmp_path / "folder"
    folder.mkdir()

    def placed(path):
        return {"vae": path, "controls": {"canny": path}, "loras": {"ink": path}}[field]

    for path, message in (
        (wrong, told),
        (tmp_path / "nowhere", "cannot be read"),
        (folder, "has no config.json"),
    ):
        with pytest.raises(ProviderMisconfigured, match=message):
            planned(provider(**{field: placed(path)}))
    (folder / "config.json").write_text("{}")
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ProviderMisconfigured, match=r"no diffusion_pytorch_model.safetensors"):
        planned(provider(**{field: placed(folder)}))


async def test_the_right_parts_pass(provider, tiny, tmp_path):
    """Folder and file of each."""
    from bench import tiny_sdxl

    net = tiny_sdxl.save_controlnet(tmp_path / "net")
    planned(
        provider(
            vae=tiny_sdxl.save_vae(tmp_path, single_file=True),
            controls={"canny": net, "depth": net / "diffusion_pytorch_model.safetensors"},
            loras={"ink": tiny_sdxl.save_lora(tmp_path, name="ink")},
        )
    )


@pytest.mark.parametrize("gone", ["", "model_index.json", "unet", "tokenizer_2"])
async def test_a_config_folder_that_is_not_whole_is_told(gone, provider, tiny, tmp_path):
    """Missing as a whole or in part; the remedy names the command that makes one."""
    folder = tmp_path / "config"
    if gone:
        shutil.copytree(tiny.config, folder)
        part = folder / gone
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    with pytest.raises(ProviderMisconfigured, match="make setup-gpu") as caught:
        planned(provider(config=folder))
    assert str(folder) in str(caught.value)


# --- digests and poison --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_poisoned_weights_are_found(dtype, number, tmp_path):
    """One number in 40,000, in any precision; the tensor is named, its neighbour of zeros is not."""
    import torch
    from safetensors.torch import save_file

    bad = torch.full((200, 200), 1e-4, dtype=getattr(torch, dtype))
    bad[199, 198] = float(number)
    good = torch.full((5,), torch.finfo(bad.dtype).max, dtype=bad.dtype)
    path = tmp_path / "poisoned.safetensors"
    save_file({"good": good, "bad": bad}, path)
    for _ in range(2):  # the second time from what is remembered
        with pytest.raises(ProviderMisconfigured, match=r"poisoned: bad holds") as caught:
            files.digest_of_weights(path, tmp_path / "known.json")
        assert caught.value.remedy
    save_file({"good": good}, path)
    assert files.digest_of_weights(path, tmp_path / "known.json")


def test_what_is_never_used_may_be_poisoned(tmp_path):
    """Averaged copies and other models' parts are not loaded; whole numbers hold no NaN."""
    path = tmp_path / "odd.safetensors"
    path.write_bytes(
        safetensors(
            {
                "model_ema.x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                "ids": {"dtype": "I32", "shape": [1], "data_offsets": [4, 8]},
            },
            np.array([np.nan, np.inf], "<f4").tobytes(),
        )
    )
    assert files.poisoned_tensor(path, files.header(path)) == ""


def test_a_poisoned_checkpoint_stops_the_run_before_the_first_image(provider, tiny, tmp_path):
    def change(state):
        state[FIRST][0, 0, 0, 0] = float("nan")

    path = rewritten(tiny.first, tmp_path / "poisoned.safetensors", change)
    made = provider(**with_first(tiny, path))
    with pytest.raises(ProviderMisconfigured, match=f"poisoned: {FIRST}"):
        made.completed([image_request(provider="sdxl", model="first")], [None])


def test_a_file_is_read_once_in_its_life(tiny, tmp_path, monkeypatch):
    """The digest is sha256's own; again, nothing is read; another file under the name is another digest."""
    import hashlib

    path, known = tmp_path / "some.safetensors", tmp_path / "deep" / "known.json"
    shutil.copy(tiny.first, path)
    reads = []
    real = hashlib.file_digest
    monkeypatch.setattr(
        files.hashlib, "file_digest", lambda file, kind: reads.append(1) or real(file, kind)
    )
    digest = files.digest_of_weights(path, known)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert files.digest_of_weights(path, known) == digest
    assert len(reads) == 1
    shutil.copy(tiny.second, path)
    assert files.digest_of_weights(path, known) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(reads) == 2
    for damage in ("{broken", "[]"):
        known.write_text(damage)
        assert files.digest_of_weights(path, known) != digest
    assert len(reads) == 4


def test_the_digest_of_a_folder_is_that_of_the_file_that_is_loaded(tmp_path):
    """Of a folder with both precisions the plain one, as diffusers loads; the half one if alone."""
    import hashlib

    folder = tmp_path / "vae"
    folder.mkdir()
    plain = folder / "diffusion_pytorch_model.safetensors"
    half = folder / "diffusion_pytorch_model.fp16.safetensors"
    half.write_bytes(only("decoder.conv_in.half"))
    known = tmp_path / "known.json"

    def digest():
        return files.digest_of_weights(folder, known)

    assert digest() == hashlib.sha256(half.read_bytes()).hexdigest()
    assert files.variant_of(folder, what="VAE") == "fp16"
    plain.write_bytes(only("decoder.conv_in.plain"))
    assert digest() == hashlib.sha256(plain.read_bytes()).hexdigest()
    assert files.variant_of(folder, what="VAE") is None
