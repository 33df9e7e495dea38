"""Local SDXL through the whole house: the flow, the ledger, the store, on the tiny model and the CPU."""

import asyncio
import json
from pathlib import Path

import pytest

from bench.tiny_models import NAMES
from imagemill.errors import ProviderMisconfigured, UnsupportedRequest
from tests.flows.sdxl import drawn, figures, mixed

pytestmark = pytest.mark.timeout(240)


def test_thirty_mixed_styles_load_each_checkpoint_once(mill, sdxl, words):
    """Grouped by checkpoint whatever order they are asked in; the UI shows loads and time."""
    result = drawn(sdxl, mixed(words))
    assert result["success_count"] == 30, result["results"][0]
    shown = figures(mill, result["run_id"])
    assert shown["checkpoints read from disk"] == ", ".join(f"{name} 1 x" for name in sorted(NAMES))
    assert shown["checkpoints freed"] == "2, 0 modules still held"
    models = {(image["model"], image["facts"]["bucket"]) for image in result["results"]}
    assert models == {(name, 4) for name in NAMES}


def test_each_image_says_how_it_was_made(mill, sdxl, words):
    """Time by node, seed, steps: in the result and in the manifest beside the pictures."""
    result = drawn(sdxl, words(2), seed=7)
    [first, second] = result["results"]
    assert (first["seed"], second["seed"]) == (7, 7)
    assert first["sha256"] != second["sha256"]
    for fact in ("preprocess_s", "generate_s", "postprocess_s", "denoise_s", "bucket", "steps"):
        assert fact in first["facts"]
    manifest = json.loads((Path(result["contact_sheet_path"]).parent / "manifest.json").read_text())
    assert "generate_s" in json.dumps(manifest)


def test_the_same_again_is_reused_and_another_seed_is_not(mill, sdxl, words):
    """Its key holds the files' digests, the bucket and all settings: equal means equal."""
    prompts = words(2)
    first = drawn(sdxl, prompts, seed=1)
    again = drawn(sdxl, prompts, seed=1)
    other = drawn(sdxl, prompts, seed=1, steps=3)
    assert (again["reused_count"], other["reused_count"]) == (2, 0)
    same = [image["sha256"] for image in first["results"]]
    assert same == [image["sha256"] for image in again["results"]]
    assert not set(same) & {image["sha256"] for image in other["results"]}


def test_a_reference_image_guides(mill, sdxl, words, models, monkeypatch):
    """With one: its edges by default, or a share of it drawn anew; without one: from words."""
    monkeypatch.setenv("IMAGEMILL_REFERENCE_ROOTS", str(models))
    prompts, reference = words(1), str(models / "reference.png")
    plain = drawn(sdxl, prompts, seed=3)
    edges = drawn(sdxl, prompts, seed=3, reference_image=reference)
    anew = drawn(sdxl, prompts, seed=3, reference_image=reference, control="none", strength=0.5)
    inked = drawn(sdxl, prompts, seed=3, loras=["ink:0.8"])
    digests = {run["results"][0]["sha256"] for run in (plain, edges, anew, inked)}
    assert len(digests) == 4


@pytest.mark.parametrize(
    "bad",
    [
        (lambda folder, tiny: tiny.save_truncated(folder, name=NAMES[0]), "cut off"),
        (lambda folder, tiny: tiny.save_pickle(folder, name=NAMES[0]), "is a pickle"),
        (lambda folder, tiny: tiny.save_wrong_architecture(folder, name=NAMES[0]), "no SDXL"),
        (
            lambda folder, tiny: tiny.save_checkpoint(folder, seed=0, name=NAMES[0], vae=False),
            "has no VAE",
        ),
    ],
)
def test_a_bad_file_is_told_before_the_first_image(mill, tmp_path, monkeypatch, words, models, bad):
    """One bad checkpoint of three, asked for last: nothing is drawn, the file and remedy are named."""
    from bench import tiny_sdxl
    from blocks.local_sdxl import LocalSDXL

    spoil, said = bad
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    for name in NAMES[1:]:
        (checkpoints / f"{name}.safetensors").symlink_to(
            models / "checkpoints" / f"{name}.safetensors"
        )
    spoil(checkpoints, tiny_sdxl)
    monkeypatch.setenv("IMAGEMILL_SDXL_CONFIG", str(models / "config"))
    block = LocalSDXL(models_folder=str(tmp_path), steps=2, native_px=64, device="cpu")
    asyncio.run(block.asave("spoilt", overwrite=True))
    with pytest.raises(ProviderMisconfigured, match=said) as refused:
        drawn("sdxl/spoilt", mixed(words, 6)[::-1])
    assert refused.value.remedy
    assert not mill.has_ledger() or not mill.rows("SELECT * FROM charges")


def test_what_this_machine_has_not_is_refused_at_the_door(mill, sdxl, words):
    """An unknown LoRA, or depth without a ControlNet for it: said with what there is."""
    with pytest.raises(UnsupportedRequest, match="no LoRA 'lace'"):
        drawn(sdxl, words(1), loras=["lace"])
    with pytest.raises(UnsupportedRequest, match="no reference image"):
        drawn(sdxl, words(1), control="canny")


def test_without_checkpoints_the_remedy_is_named(mill, words):
    """Whoever chooses sdxl on a machine without models is told which variable to set."""
    with pytest.raises(ProviderMisconfigured, match="IMAGEMILL_SDXL_MODELS"):
        drawn("sdxl", words(1))


def test_the_form_offers_every_sampler_and_control_there_is():
    """A form's list must be written out; it is held to the ground floor's own."""
    from typing import get_args

    from flows.sdxl_form import ControlKind, SamplerName
    from imagemill.diffusion import Control, Sampler

    for shown, known in ((SamplerName, Sampler), (ControlKind, Control)):
        assert set(get_args(get_args(shown)[0])) == {"", *get_args(known)}
