"""The ComfyUI block: what is left empty comes from the environment, the rest is its own."""

import json

import pytest

from blocks.comfyui import ComfyUI
from blocks.settings import Settings
from imagemill.errors import ProviderMisconfigured
from tests.providers.comfy_graphs import panel

OWN = json.dumps(panel(n4={"ckpt_name": "own.safetensors"}))


def test_nothing_configured_is_the_shipped_workflow_where_comfyui_listens(home):
    """It can be asked at once on the machine that runs ComfyUI."""
    built = ComfyUI.from_settings(Settings()).build(Settings())
    assert built.base_url == "http://127.0.0.1:8188"
    assert built.capabilities().model.startswith("v1-5-pruned-emaonly-fp16-")


@pytest.mark.parametrize("name", ["IMAGEMILL_COMFYUI_URL", "COMFYUI_URL"])
def test_the_variables_fill_what_is_empty(home, monkeypatch, name):
    """Both names of the address; workflow and checkpoint."""
    monkeypatch.setenv(name, "http://box:8188")
    monkeypatch.setenv("IMAGEMILL_COMFYUI_WORKFLOW", "make_panel_sdxl")
    monkeypatch.setenv("IMAGEMILL_COMFYUI_CHECKPOINT", "sd/mine.safetensors")
    built = ComfyUI().build(Settings())
    assert (built.base_url, built.capabilities().default_size) == ("http://box:8188", "1K")
    assert built.capabilities().model.startswith("mine-")


def test_the_block_wins_over_the_variables(home, monkeypatch):
    """Its own workflow keeps its own checkpoint: the variable belongs to another one."""
    monkeypatch.setenv("IMAGEMILL_COMFYUI_URL", "http://box:8188")
    monkeypatch.setenv("IMAGEMILL_COMFYUI_CHECKPOINT", "other.safetensors")
    block = ComfyUI(base_url="http://mine:1", workflow=OWN, nodes={"output": "9"}, timeout_s=20)
    built = block.build(Settings())
    assert built.base_url == "http://mine:1"
    assert built.capabilities().model.startswith("own-")
    assert built.capabilities().timeout_s == 20 + 1800


def test_a_workflow_that_is_none_is_refused_when_the_provider_is_built(home):
    """Before a run begins."""
    with pytest.raises(ProviderMisconfigured, match="editor's own format"):
        ComfyUI(workflow='{"nodes": [], "links": []}').build(Settings())
    with pytest.raises(ProviderMisconfigured, match="knows no painter"):
        ComfyUI(nodes={"painter": "3"}).build(Settings())


def test_every_field_of_the_form_is_described():
    """With a full stop, as the others are."""
    for name, field in ComfyUI.model_fields.items():
        if not name.startswith("_"):
            assert field.title
            assert (field.description or "").endswith("."), name
