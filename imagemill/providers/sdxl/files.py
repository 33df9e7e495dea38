"""What a weight file is, told by its header: read before the first image, in milliseconds, without torch.

A safetensors file is an 8-byte length, that much JSON (name -> dtype, shape, offsets), then the
numbers (format of the safetensors project, read 2026-11-21). A pickle is never opened.
"""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from imagemill.errors import ProviderMisconfigured

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""

_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_SDXL_MARKS = ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model.")
_OTHER_KINDS = {
    "cond_stage_model.transformer.": "Stable Diffusion 1.x",
    "cond_stage_model.model.": "Stable Diffusion 2.x",
    "double_blocks.": "Flux",
    "model.diffusion_model.double_blocks.": "Flux",
    "model.diffusion_model.joint_blocks.": "Stable Diffusion 3",
    "lora_unet_": "a LoRA",
    "lora_te": "a LoRA",
    "unet.": "a LoRA",
    "controlnet_": "a ControlNet",
    "down_blocks.": "the UNet alone, in diffusers' layout",
    "decoder.": "a VAE",
    "first_stage_model.": "a VAE",
}

_PART_MARKS = {
    "VAE": "decoder.conv_in.",
    "ControlNet": "controlnet_cond_embedding.",
    "LoRA": "lora",
}
"""What is in the name of a tensor of each kind of part, and in none of the others'."""


def header(file: Path, *, what: str = "checkpoint") -> dict[str, Any]:
    """Return the tensors of a safetensors file by name: dtype, shape, data_offsets.

    Raises:
        ProviderMisconfigured: not there, not safetensors, or cut off.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            start = opened.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise _no_safetensors(file, what, start)
            tensors = json.loads(opened.read(length))
    except OSError as error:
        raise ProviderMisconfigured(
            f"The {what} {file} cannot be read ({type(error).__name__}).",
            remedy="Give the path of a .safetensors file that exists.",
        ) from error
    except ValueError as error:
        raise _broken(file, what, "has a broken header") from error
    if not isinstance(tensors, dict):
        raise _broken(file, what, "has a broken header")
    tensors.pop("__metadata__", None)
    try:
        end = max(int(each["data_offsets"][1]) for each in tensors.values() if each["dtype"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _broken(file, what, "has a broken header") from error
    if size < 8 + length + end:
        missing = 8 + length + end - size
        raise _broken(file, what, f"is cut off: {missing:,} bytes are missing")
    return tensors


def _no_safetensors(file: Path, what: str, start: bytes) -> ProviderMisconfigured:
    """Tell a pickle from what is merely cut or of another kind. A header's length may begin like one."""
    pickled = start[:1] == b"\x80" or start[:2] == b"PK"
    how = "is a pickle, which may run code when it is read" if pickled else "is no safetensors file"
    return _broken(file, what, how)


def _broken(file: Path, what: str, how: str) -> ProviderMisconfigured:
    return ProviderMisconfigured(
        f"The {what} {file} {how}.",
        remedy="Download it again as .safetensors and compare its sha256 with the publisher's.",
    )


def check_checkpoint(file: Path, config: Path, *, own_vae: bool) -> None:
    """Make sure that a file is a whole SDXL checkpoint.

    Args:
        file: A single-file checkpoint.
        config: Folder of the component configs that it must fit.
        own_vae: Whether it must bring its own VAE, because no shared one is configured.

    Raises:
        ProviderMisconfigured: says what it is instead, or what it lacks.
    """
    names = header(file)
    lacking = [mark for mark in _SDXL_MARKS if not _has(names, mark)]
    if lacking or not _has(names, _UNET):
        kind = next((kind for mark, kind in _OTHER_KINDS.items() if _has(names, mark)), "")
        told = f"looks like {kind}" if kind else "is of another kind"
        raise ProviderMisconfigured(
            f"The checkpoint {file} is no SDXL checkpoint: it {told}.",
            remedy="Give a merged SDXL checkpoint (also Pony, Illustrious, Animagine) as one file.",
        )
    _check_shape(file, names, config)
    if own_vae and not _has(names, _VAE):
        raise ProviderMisconfigured(
            f"The checkpoint {file} has no VAE in it, and none is configured.",
            remedy="Set the VAE to madebyollin's sdxl-vae-fp16-fix, a folder or a .safetensors file.",
        )


def _check_shape(file: Path, names: dict[str, Any], config: Path) -> None:
    """Compare the first convolution: inpainting models take 9 channels, the refiner begins at 384."""
    try:
        (config / "model_index.json").stat()
        unet = json.loads((config / "unet" / "config.json").read_text("utf-8"))
        wanted = [unet["block_out_channels"][0], unet["in_channels"], 3, 3]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ProviderMisconfigured(
            f"The config folder {config} cannot be used ({type(error).__name__}).",
            remedy="Run `make setup-gpu`, which makes one, or give a whole one: model_index.json, "
            "tokenizers and each part's config.json.",
        ) from error
    shape = names.get(f"{_UNET}input_blocks.0.0.weight", {}).get("shape")
    if shape != wanted:
        raise ProviderMisconfigured(
            f"The checkpoint {file} is no SDXL base model: its first layer is {shape}, not {wanted}.",
            remedy="Inpainting, refiner and distilled models have other shapes; give a base model.",
        )


def _has(names: dict[str, Any], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)


def check_part(place: Path, *, what: str) -> None:
    """Make sure that a part is there: a diffusers folder or a safetensors file.

    Args:
        place: File or folder.
        what: Names the kind: "VAE", "depth ControlNet", "LoRA ink"; others are only looked for.

    Raises:
        ProviderMisconfigured: names what is missing, or what it is not.
    """
    if not place.is_dir():
        names = header(place, what=what)
        mark = next((mark for kind, mark in _PART_MARKS.items() if kind in what), "")
        if not any(mark in name for name in names):
            raise ProviderMisconfigured(
                f"The file {place} is no {what}: none of its tensors is called as one's are.",
                remedy="Give the file that the publisher calls so, or a folder in diffusers' layout.",
            )
        return
    if not (place / "config.json").is_file():
        raise ProviderMisconfigured(
            f"The {what} folder {place} has no config.json.",
            remedy="Give the folder as diffusers saves it, or a single .safetensors file.",
        )
    header(weights_of(place, what=what), what=what)


def weights_of(folder: Path, *, what: str) -> Path:
    """Return the one weights file of a folder, the one that is loaded: a half precision one if alone.

    Raises:
        ProviderMisconfigured: there is none.
    """
    names = ("diffusion_pytorch_model", "diffusion_pytorch_model.fp16", "model")
    for name in names:
        if (file := folder / f"{name}.safetensors").is_file():
            return file
    raise ProviderMisconfigured(
        f"The {what} folder {folder} has no {names[0]}.safetensors.",
        remedy="Download the safetensors variant; pickles (.bin) are not read.",
    )


def variant_of(folder: Path, *, what: str) -> str | None:
    """Return diffusers' name for the kind of file that `weights_of` chose."""
    return "fp16" if ".fp16." in weights_of(folder, what=what).name else None


def digest_of_weights(place: Path, cache: Path) -> str:
    """Return the sha256 of a weight file (of a folder, of its weights), and refuse poisoned numbers.

    Reading 7 GB takes 10 to 70 s, by the disk; a file whose size and time are as they were is not
    read again.

    Args:
        place: File or diffusers folder.
        cache: JSON file that remembers what was found; made where it is missing.

    Raises:
        ProviderMisconfigured: it cannot be read, or holds NaN or infinity.
    """
    file = weights_of(place, what="weights") if place.is_dir() else place
    tensors = header(file, what="weights")
    found = file.resolve().stat()
    mark = f"{file.resolve()}|{found.st_size}|{found.st_mtime_ns}"
    cache.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(cache.with_suffix(".lock")):
        known = _read(cache)
        if mark not in known:
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            known[mark] = {"sha256": digest, "poisoned": poisoned_tensor(file, tensors)}
            draft = cache.with_suffix(".new")
            draft.write_text(json.dumps(known, indent=1), encoding="utf-8")
            draft.replace(cache)
    if name := known[mark]["poisoned"]:
        raise ProviderMisconfigured(
            f"The weights {file} are poisoned: {name} holds numbers that are none, and every "
            "picture would be black.",
            remedy="Download the file again and compare its sha256 with the publisher's.",
        )
    return known[mark]["sha256"]


_EXPONENTS = {
    "F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80), "F32": (np.uint32, 0x7F800000),
    "F64": (np.uint64, 0x7FF0000000000000),
}  # fmt: skip
"""By dtype, the bits that are all set in NaN and infinity alone (IEEE 754; bfloat16)."""

_SLICE = 8_000_000
_UNUSED = ("model_ema.", "cond_stage_model.")


def poisoned_tensor(file: Path, tensors: dict[str, Any]) -> str:
    """Return the name of a tensor with NaN or infinity in it; "" when all numbers are numbers."""
    with file.open("rb") as opened:
        start = 8 + int(struct.unpack("<Q", opened.read(8))[0])
    numbers = np.memmap(file, mode="r", dtype=np.uint8)
    for name, each in tensors.items():
        if each["dtype"] not in _EXPONENTS or name.startswith(_UNUSED):
            continue
        kind, bits = _EXPONENTS[each["dtype"]]
        first, end = (start + at for at in each["data_offsets"])
        end -= (end - first) % np.dtype(kind).itemsize
        for at in range(first, end, _SLICE):
            values = np.frombuffer(numbers[at : min(at + _SLICE, end)].tobytes(), kind)
            if bool(((values & kind(bits)) == bits).any()):
                return name
    return ""


def _read(cache: Path) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(cache.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
