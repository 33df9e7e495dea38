"""A tiny SDXL on disk for all tests here; without torch they are skipped at home and fail in CI.

Nothing here imports torch at module level: collecting must work without it.
"""

import gc
import os
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from tests.conftest import skip_or_fail

NEEDED = ("torch", "diffusers", "transformers", "peft", "safetensors")


@pytest.fixture(scope="session", autouse=True)
def _diffusers_for_all(diffusers_here):
    """Without it nothing here runs."""


@pytest.fixture(scope="session")
def diffusers_here():
    """Tiny models are quickest on one thread; no library may ask the network for a file."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        skip_or_fail(f"{', '.join(missing)} not installed: make setup-gpu")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
            patch.setitem(os.environ, name, "1")
        import diffusers
        import torch

        assert diffusers.StableDiffusionXLPipeline
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        # An engine collects garbage when it lets weights go; the libraries need not be looked through.
        gc.freeze()
        yield
        gc.unfreeze()
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, diffusers_here):
    """Three single-file checkpoints, their config folder, a VAE of its own. Read only."""
    from bench import tiny_sdxl

    root = tmp_path_factory.mktemp("tiny-sdxl")
    return SimpleNamespace(
        root=root,
        config=tiny_sdxl.save_config(root / "config"),
        vae=tiny_sdxl.save_vae(root / "vae"),
        first=tiny_sdxl.save_checkpoint(root, seed=0, name="first"),
        second=tiny_sdxl.save_checkpoint(root, seed=1, name="second"),
        third=tiny_sdxl.save_checkpoint(root, seed=2, name="third"),
    )
