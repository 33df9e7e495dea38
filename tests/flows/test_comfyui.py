"""A batch drawn by a ComfyUI server, end to end: real Prefect, store and ledger, a fake server."""

import json

import pytest

from tests.flows.test_canary import everything, silent, told_to_the_server
from tests.providers.comfy_graphs import panel
from tests.wire.comfy import FakeComfy

__all__ = ["everything"]


@pytest.fixture
def comfy(mill, monkeypatch, tmp_path):
    """A fake ComfyUI that the environment names, with a workflow of 64 x 64."""
    file = tmp_path / "panel.json"
    file.write_text(json.dumps(panel()))
    with FakeComfy() as running:
        monkeypatch.setenv("IMAGEMILL_COMFYUI_URL", running.url)
        monkeypatch.setenv("IMAGEMILL_COMFYUI_WORKFLOW", str(file))
        yield running


def test_a_batch_outlives_a_lost_image_and_names_a_node_that_failed(
    mill, words, comfy, everything, capfd
):
    """Lost in a restart: drawn again. A node that raises: that image fails alone, with its node."""
    prompts = words(4, "a xyzzycanary on a wire,")
    comfy.fail("lost", prompt="number 2 of", times=1)
    comfy.fail("node_error", prompt="number 3 of")
    result = mill.run(prompts, provider="comfyui", seed=5, max_concurrent=4)
    entries = result["results"]
    assert [entry["status"] for entry in entries] == ["made", "made", "failed", "made"]
    assert [entry["attempts"] for entry in entries] == [1, 2, 1, 1]
    assert "node KSampler failed with Exception" in entries[2]["error"]
    assert (result["cost_usd"], result["ambiguous_count"], mill.fake.stats.requests) == ("0", 0, 0)
    assert (len(comfy.submitted), comfy.most) == (5, 1)  # one at a time, whatever was allowed
    assert entries[0]["model"].startswith("v1-5-pruned-emaonly-fp16-")
    assert (entries[0]["width_px"], entries[0]["facts"]["cached_nodes"] >= 0) == (64, True)
    assert not mill.rows("SELECT id FROM reservations WHERE state = 'open'")
    printed = capfd.readouterr()
    silent("\n".join(everything.lines), "a log")
    silent(printed.out + printed.err, "the terminal")
    silent(entries[2]["error"], "an error")
    silent(told_to_the_server(result["run_id"], tasks_told=4), "the Prefect server")
    again = mill.run(prompts, provider="comfyui", seed=5)
    assert (again["reused_count"], len(comfy.submitted)) == (3, 6)


def test_a_workflow_that_the_server_lacks_nodes_for_sends_nothing(mill, words, comfy, monkeypatch):
    """Found before the first image: no attempt is made, each image says why."""
    monkeypatch.setenv("IMAGEMILL_COMFYUI_CHECKPOINT", "mine.safetensors")
    result = mill.run(words(2), provider="comfyui")
    assert (result["failure_count"], comfy.submitted) == (2, [])
    assert "no checkpoint 'mine.safetensors'; it has: v1-5" in result["results"][0]["error"]


def test_a_saved_block_draws_by_its_name(mill, words, comfy):
    """`comfyui/NAME`: address, workflow and mapping of its own."""
    from blocks.comfyui import ComfyUI

    block = ComfyUI(base_url=comfy.url, workflow=json.dumps(panel()), nodes={"output": "9"})
    block.save("studio", overwrite=True)
    result = mill.run(words(1), provider="comfyui/studio")
    assert result["results"][0]["provider"] == "comfyui/studio"
    assert len(comfy.history) == 1
