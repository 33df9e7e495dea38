"""From files to modules: checkpoints, the VAE, ControlNets. Never the network, never a pickle."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from imagemill.errors import ProviderMisconfigured
from imagemill.providers.sdxl.files import variant_of
from imagemill.providers.sdxl.options import SdxlOptions


class Place(NamedTuple):
    """Where weights lie and in which numbers: a torch device and dtype."""

    device: Any
    dtype: Any


def place_of(options: SdxlOptions) -> Place:
    """Return where to draw. Needs torch.

    Raises:
        ProviderMisconfigured: no torch, or no such device.
    """
    try:
        import torch
        import transformers

        transformers.logging.set_verbosity_error()  # it speaks while diffusers is imported
        import diffusers
    except ImportError as error:
        raise ProviderMisconfigured(
            "Local SDXL needs torch and diffusers, which are not installed.",
            remedy="Run `make setup-gpu`, or install the extra `imagemill[gpu]`.",
        ) from error
    # Its bars and warnings would run through ours; what goes wrong it raises.
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    name = options.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (
        Exception
    ) as error:  # torch raises RuntimeError, AssertionError or its own, by the device
        raise ProviderMisconfigured(
            f"The device {name!r} cannot be used ({type(error).__name__}).",
            remedy="Set it to auto, cpu, cuda or cuda:1; nvidia-smi lists the GPUs.",
        ) from error
    return Place(device, _dtype(options, device))


def _dtype(options: SdxlOptions, device: Any) -> Any:  # noqa: ANN401 - torch's own types
    import torch

    if options.dtype != "auto":
        return getattr(torch, options.dtype)
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def load_checkpoint(options: SdxlOptions, name: str, *, vae: Any, dtype: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a checkpoint's components on the CPU, with the shared VAE in place of its own.

    The numbers stay in the file until they are moved: never replace a file that is in use.

    Raises:
        ProviderMisconfigured: the file does not load, or is not whole.
    """
    from diffusers import StableDiffusionXLPipeline

    file = options.checkpoints[name].file
    shared = {} if vae is None else {"vae": vae}
    with _told(f"The checkpoint {file}"):
        pipe: Any = StableDiffusionXLPipeline.from_single_file(
            str(file), config=str(options.config), local_files_only=True, dtype=dtype,
            add_watermarker=False, **shared,
        )  # fmt: skip
    components = {
        name: part for name, part in pipe.components.items()
        if name not in ("image_encoder", "feature_extractor")
    }  # fmt: skip
    for part in ("unet", "text_encoder", "text_encoder_2", *(() if shared else ("vae",))):
        _check_whole(components[part], f"The checkpoint {file}", part)
        components[part].requires_grad_(requires_grad=False).eval()
    return components


def _check_whole(module: Any, what: str, part: str = "weights") -> None:  # noqa: ANN401
    """Refuse a module whose weights were not all in the file: diffusers leaves them without numbers."""
    if any(parameter.is_meta for parameter in module.parameters()):
        raise ProviderMisconfigured(
            f"{what} lacks some of its {part}.",
            remedy="Download it again and compare its sha256 with the publisher's.",
        )


def load_vae(options: SdxlOptions, place: Place) -> Any:  # noqa: ANN401 - AutoencoderKL or None
    """Return the VAE that all checkpoints share, on the device; None when none is configured."""
    if options.vae is None:
        return None
    from diffusers import AutoencoderKL

    with _told(f"The VAE {options.vae}"):
        if options.vae.is_dir():
            vae = AutoencoderKL.from_pretrained(
                str(options.vae), dtype=place.dtype, **_local(options.vae, "VAE")
            )
        else:
            vae = AutoencoderKL.from_single_file(
                str(options.vae), config=str(options.config / "vae"), dtype=place.dtype,
                local_files_only=True,
            )  # fmt: skip
    _check_whole(vae, f"The VAE {options.vae}")
    return on_device(vae, place)


def load_control(file: Path, unet: Any, place: Place) -> Any:  # noqa: ANN401 - a ControlNet
    """Return a ControlNet on the device: a diffusers folder, or one file in diffusers' layout."""
    import json

    import torch
    from diffusers import ControlNetModel, ControlNetUnionModel
    from safetensors.torch import load_file

    with _told(f"The ControlNet {file}"):
        if file.is_dir():
            kind = json.loads((file / "config.json").read_text("utf-8")).get("_class_name", "")
            one: Any = ControlNetUnionModel if "Union" in kind else ControlNetModel
            made = one.from_pretrained(str(file), dtype=place.dtype, **_local(file, "ControlNet"))
        else:
            with torch.device("meta"):  # 1.25 G random numbers would only be thrown away
                made = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
            made.load_state_dict(load_file(str(file)), assign=True)
    _check_whole(made, f"The ControlNet {file}")
    return on_device(made, place)


def _local(folder: Path, what: str) -> dict[str, Any]:
    """Return how `from_pretrained` reads the file that `files` looked at, and no other."""
    variant = variant_of(folder, what=what)
    return {"local_files_only": True, "use_safetensors": True, "variant": variant}


def on_device(module: Any, place: Place) -> Any:  # noqa: ANN401 - a torch module
    """Return the module moved to the device, in the layout convolutions are quickest in."""
    import torch

    moved = (
        module.to(device=place.device, dtype=place.dtype).requires_grad_(requires_grad=False).eval()
    )
    if place.device.type == "cuda":
        moved = moved.to(memory_format=torch.channels_last)
    return moved


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Say in the house's words that a file does not load. An overflow of memory passes through."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, ProviderMisconfigured):
        raise
    except Exception as error:  # diffusers raises what the broken part leads to
        raise ProviderMisconfigured(
            f"{what} does not load ({type(error).__name__}).",
            remedy="Check that it is the file it should be; download it again.",
        ) from error
