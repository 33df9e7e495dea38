"""Checkpoints to measure with: random numbers in SDXL's shape, written once, loaded by the real engine.

Full size they are built on the device from the config that imagemill ships: nothing is downloaded.
Pictures are noise, so this tells speed, memory and equality, never quality.
"""

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.tiny_layout import (
    VAE,
    first_encoder_state,
    second_encoder_state,
    unet_state,
    vae_state,
)
from imagemill.providers.sdxl.config_folder import INDEX, SHIPPED

NAMES = ("style-a", "style-b", "style-c", "style-d")
VAE_SEED, CONTROL_SEED = 1234, 5


@dataclass(frozen=True)
class Files:
    """What the engine is pointed at."""

    config: Path
    vae: Path
    control: Path
    checkpoints: dict[str, Path]


def prepare(folder: Path, *, tiny: bool, device: str, dtype: str, count: int, say=print) -> Files:
    """Write what is missing in `folder`: checkpoints of 6.9 GB each, or tiny ones of 12 MB."""
    root = folder / ("tiny" if tiny else f"full-{dtype}")
    config = prepare_config(folder, tiny=tiny)
    files = {name: root / f"{name}.safetensors" for name in NAMES[:count]}
    root.mkdir(parents=True, exist_ok=True)
    if tiny:
        _write_tiny(root, files)
    else:
        _write_full(root, config, files, device=device, dtype=getattr(torch, dtype), say=say)
    return Files(config, root / "vae", root / "control", files)


def prepare_config(folder: Path, *, tiny: bool) -> Path:
    """Write the config folder if it is missing: all that counting needs."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / ("config-tiny" if tiny else "config")
    if tiny:
        from bench import tiny_sdxl

        once(config, tiny_sdxl.save_config)
    else:
        once(config, _fill_config)
    return config


def _write_tiny(root: Path, files: dict[str, Path]) -> None:
    from bench import tiny_sdxl

    once(root / "vae", tiny_sdxl.save_vae)
    once(root / "control", tiny_sdxl.save_controlnet)
    for seed, file in enumerate(files.values()):
        if not file.exists():
            tiny_sdxl.save_checkpoint(root, seed=seed, name=file.stem)


def _installed_config() -> Path | None:
    try:
        from blocks.settings import shared_sdxl_config
    except ImportError:  # a bare GPU machine may have torch and diffusers only
        return None
    folder = shared_sdxl_config()
    return folder if (folder / INDEX).is_file() else None


def _fill_config(draft: Path) -> None:
    """Copy SDXL's config; its tokenizers from `make setup-gpu`, else tiny ones that know few words."""
    installed = _installed_config()
    shutil.copytree(installed or SHIPPED, draft, dirs_exist_ok=True)
    if installed is not None:
        return
    from bench.tiny_sdxl import make_tokenizer

    for number, padding in (("", "<|endoftext|>"), ("_2", "!")):
        tokenizer = make_tokenizer(padding)
        tokenizer.save_pretrained(draft / f"tokenizer{number}")
        # Pooling looks for the end token by its number, which differs in the tiny vocabulary.
        file = draft / f"text_encoder{number}" / "config.json"
        config = json.loads(file.read_text("utf-8"))
        config |= {
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        }
        file.write_text(json.dumps(config, indent=1), "utf-8")


def _write_full(
    root: Path, config: Path, files: dict[str, Path], *, device: str, dtype, say
) -> None:
    from safetensors.torch import save_file

    for seed, file in enumerate(files.values()):
        if file.exists():
            continue
        say(f"· writing {file} (6.9 GB, once)")
        state = full_state(config, device=device, dtype=dtype, seed=seed)
        draft = file.with_suffix(".part")
        save_file(state, draft)
        draft.replace(file)
        del state
        emptied()
    with building(device, dtype, VAE_SEED):
        once(root / "vae", lambda draft: made_vae(config).save_pretrained(draft))
    with building(device, dtype, CONTROL_SEED):
        once(root / "control", lambda draft: made_control(config).save_pretrained(draft))
    emptied()


def full_state(config: Path, *, device: str, dtype, seed: int) -> dict:
    """Return a checkpoint's tensors by their original names, made on the device: on a CPU it takes
    minutes. Part by part, and without the copies of `single_file_state`: 7 GB more would be too many.
    """
    state: dict = {}
    with building(device, dtype, seed):
        for made, named in (
            (lambda: made_unet(config), unet_state),
            (lambda: made_vae(config), lambda vae: ((VAE + k, v) for k, v in vae_state(vae))),
            (lambda: made_encoder(config, second=False), first_encoder_state),
            (lambda: made_encoder(config, second=True), second_encoder_state),
        ):
            for key, value in dict(named(made())).items():
                state[key] = value.detach().cpu().contiguous()
    return state


@contextmanager
def building(device: str, dtype, seed: int):
    """Make modules on a device, in a dtype, from a seed."""
    before = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def made_unet(config: Path):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(config / "unet"))


def made_vae(config: Path):
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_config(AutoencoderKL.load_config(config / "vae"))


def made_control(config: Path):
    from diffusers import ControlNetModel

    return ControlNetModel.from_unet(made_unet(config), load_weights_from_unet=False)


def made_encoder(config: Path, *, second: bool):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    name, kind = ("text_encoder_2", CLIPTextModelWithProjection) if second else (
        "text_encoder", CLIPTextModel
    )  # fmt: skip
    return kind(CLIPTextConfig.from_pretrained(config / name))


def once(place: Path, write) -> None:
    """Write a folder beside its place and move it there, so that half a one is never taken for whole."""
    if place.exists():
        return
    draft = place.with_name(f"{place.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    write(draft)
    draft.replace(place)


def emptied() -> None:
    """Give freed memory back to the device."""
    import gc

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
