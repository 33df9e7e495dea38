"""Weights in a models folder, as ComfyUI and webui keep it: who has one configures nothing else."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from imagemill.errors import ProviderMisconfigured

_PLACES = {
    "checkpoints": ("checkpoints", "Stable-diffusion"),
    "vae": ("vae", "VAE"),
    "controlnet": ("controlnet", "ControlNet"),
    "loras": ("loras", "Lora"),
}
"""Folders by what lies in them: ComfyUI's name, then webui's."""

ControlKind = Literal["canny", "depth", "union"]
_CONTROLS: tuple[ControlKind, ...] = ("canny", "depth", "union")


@dataclass(frozen=True)
class Models:
    """What was found, by the name of the file without its ending."""

    checkpoints: dict[str, Path] = field(default_factory=dict)
    vae: Path | None = None
    controls: dict[ControlKind, Path] = field(default_factory=dict)
    loras: dict[str, Path] = field(default_factory=dict)


def models_in(folder: Path) -> Models:
    """Return the weights of a models folder. Only names are looked at, no file is opened.

    The shared VAE is the one with `sdxl` in its name, `fp16` before others; a ControlNet is known
    by canny, depth or union in its name or its folder's.

    Raises:
        ProviderMisconfigured: no such folder, or no checkpoints in it.
    """
    if not folder.is_dir():
        raise ProviderMisconfigured(
            f"The models folder {folder} is not there.",
            remedy="Set IMAGEMILL_SDXL_MODELS to a folder with checkpoints/ (ComfyUI's models).",
        )
    checkpoints = {file.stem: file for file in _files(folder, "checkpoints")}
    if not checkpoints:
        raise ProviderMisconfigured(
            f"The models folder {folder} has no checkpoints/*.safetensors.",
            remedy="Put SDXL checkpoints there as single .safetensors files.",
        )
    return Models(
        checkpoints=checkpoints,
        vae=_vae(_parts(folder, "vae")),
        controls=_controls(_parts(folder, "controlnet")),
        loras={file.stem: file for file in _files(folder, "loras")},
    )


def _files(folder: Path, what: str) -> Iterator[Path]:
    """Yield single files of a kind, folders below included, by name."""
    for name in _PLACES[what]:
        if (place := folder / name).is_dir():
            yield from sorted(place.rglob("*.safetensors"))
            return  # on a disk that ignores case both names are one folder


def _parts(folder: Path, what: str) -> list[Path]:
    """Return single files, and folders as diffusers saves them."""
    found: dict[Path, None] = {}
    for file in _files(folder, what):
        whole = (file.parent / "config.json").is_file()
        found[file.parent if whole else file] = None
    return list(found)


def _vae(parts: Iterable[Path]) -> Path | None:
    ours = [part for part in parts if "sdxl" in part.name.casefold()]
    return min(ours, key=lambda part: ("fp16" not in part.name.casefold(), part.name), default=None)


def _controls(parts: Iterable[Path]) -> dict[ControlKind, Path]:
    found: dict[ControlKind, Path] = {}
    for part in parts:
        words = f"{part.parent.name}/{part.name}".casefold()
        for kind in _CONTROLS:
            if kind in words:
                found.setdefault(kind, part)
    return found
