"""A models folder is all that a GPU owner names; the block takes it from there."""

from pathlib import Path

import pytest

from blocks.local_sdxl import LocalSDXL
from blocks.settings import Settings
from imagemill.errors import ProviderMisconfigured
from imagemill.providers.sdxl.discovery import models_in
from imagemill.providers.sdxl.showing import progress, table
from imagemill.providers.sdxl.tally import EngineReport


def folder(tmp_path, *files):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


COMFY = (
    "checkpoints/RealVisXL_V4.0.safetensors", "checkpoints/xl/animagine-xl-3.1.safetensors",
    "checkpoints/notes.txt", "vae/vae-ft-mse.safetensors", "vae/sdxl_vae.safetensors",
    "vae/sdxl-vae-fp16-fix/config.json",
    "vae/sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors",
    "controlnet/control_v11p_openpose.safetensors", "controlnet/canny-xl/config.json",
    "controlnet/canny-xl/diffusion_pytorch_model.safetensors",
    "controlnet/depth-sdxl.safetensors", "loras/ink.safetensors",
)  # fmt: skip


def test_a_folder_as_comfyui_keeps_it_is_understood(tmp_path):
    """Names without endings, the fp16-fix VAE before others, folders with a config as a whole."""
    found = models_in(folder(tmp_path, *COMFY))
    assert list(found.checkpoints) == ["RealVisXL_V4.0", "animagine-xl-3.1"]
    assert found.vae == tmp_path / "vae" / "sdxl-vae-fp16-fix"
    assert found.controls == {
        "canny": tmp_path / "controlnet" / "canny-xl",
        "depth": tmp_path / "controlnet" / "depth-sdxl.safetensors",
    }
    assert list(found.loras) == ["ink"]


def test_a_folder_as_webui_keeps_it_is_understood(tmp_path):
    found = models_in(folder(tmp_path, "Stable-diffusion/a.safetensors", "Lora/b.safetensors"))
    assert (list(found.checkpoints), list(found.loras)) == (["a"], ["b"])
    assert found.vae is None


def test_what_is_missing_is_told_with_the_folder_it_should_be_in(tmp_path):
    with pytest.raises(ProviderMisconfigured, match="is not there") as absent:
        models_in(tmp_path / "nowhere")
    assert "IMAGEMILL_SDXL_MODELS" in absent.value.remedy
    with pytest.raises(ProviderMisconfigured, match=r"has no checkpoints/\*\.safetensors"):
        models_in(folder(tmp_path, "vae/sdxl_vae.safetensors"))


def options(block, tmp_path, **settings):
    return block.options(Settings(home=tmp_path / "home", **settings))


def test_the_environment_is_enough(tmp_path):
    """IMAGEMILL_SDXL_MODELS and nothing else: every checkpoint by its name, sensible settings."""
    found = options(LocalSDXL(), tmp_path, sdxl_models=str(folder(tmp_path, *COMFY)))
    assert found.named("RealVisXL") == "RealVisXL_V4.0"
    assert found.named("animagine") == "animagine-xl-3.1"
    assert (found.bucket, found.max_resident, found.swap) == (4, 1, "auto")
    assert found.config.name == "sdxl"


def test_the_form_overrides_the_folder(tmp_path):
    """Files and settings that are named in the block win; `~` is the worker's own home."""
    models = folder(tmp_path, *COMFY)
    block = LocalSDXL(
        models_folder=str(models), checkpoints=["~/mine.safetensors"], vae="/v", steps=12, bucket=8,
        controlnet_canny="/c", controlnet_union="/u", depth_model="/d", config_folder="/config",
    )  # fmt: skip
    found = options(block, tmp_path)
    assert found.checkpoints["mine"].file == Path.home() / "mine.safetensors"
    assert {each.steps for each in found.checkpoints.values()} == {12}
    assert (found.vae, found.depth_model, found.config) == (Path("/v"), Path("/d"), Path("/config"))
    assert found.controls["canny"] == Path("/c")
    assert found.control_file("depth") == models / "controlnet" / "depth-sdxl.safetensors"


def test_files_alone_need_no_folder_and_nothing_at_all_is_told(tmp_path):
    block = LocalSDXL(checkpoints=["/one.safetensors"])
    assert list(options(block, tmp_path).checkpoints) == ["one"]
    with pytest.raises(ProviderMisconfigured, match="knows no checkpoints"):
        options(LocalSDXL(), tmp_path)


def test_the_report_is_told_in_figures():
    """A table for the end, a line for the call under way; memory only where there is a GPU."""
    busy = EngineReport(
        device="NVIDIA L4", resident=("a",), images=1200, calls=300, loads={"a": 1, "b": 2}, step=12,
        steps=30, waiting=40, swaps=3, vram_gb=9.61, vram_peak_gb=14.2, vram_total_gb=22.5,
        seconds={"generate": 12.345},
    )  # fmt: skip
    shown = {row["what"]: row["figure"] for row in table(busy)}
    assert shown["images drawn"] == "1,200 by 300 calls"
    assert shown["checkpoints read from disk"] == "a 1 x, b 2 x"
    assert shown["most memory in use"] == "14.20 of 22.5 GB"
    assert shown["seconds: generate"] == "12.35"
    share, words = progress(busy)
    assert share == pytest.approx(40.0)
    assert words == "step 12 of 30, 9.6 GB; 1,200 drawn, 40 waiting, 3 swaps"
    assert progress(EngineReport()) == (0.0, "idle; 0 drawn, 0 waiting")
    assert {row["figure"] for row in table(EngineReport()) if "memory" in row["what"]} == {
        "not on a GPU"
    }
