"""`imagemill doctor` looks at everything a batch needs, changes nothing, and says what to do."""

import pytest
from typer.testing import CliRunner

from apps import checkup as checkup_module
from apps.checkup import checkup
from apps.cli import app
from apps.gpu_checkup import sdxl_lacks
from apps.services.gpus import Gpu
from blocks.settings import Settings
from blocks.store import forget_stores
from tests.unit.small_workshop import unwritable
from tests.wire.comfy import FakeComfy


@pytest.fixture(autouse=True)
def _fresh_stores(home):
    forget_stores()
    yield
    forget_stores()


def found(what: str, **settings):
    return next(finding for finding in checkup(Settings(**settings)) if finding.what == what)


def test_a_fresh_machine_is_well_but_for_notes(home):
    """No key, no services: notes with their remedy, nothing bad."""
    findings = checkup(Settings())
    assert {finding.level for finding in findings} <= {"ok", "note"}
    assert all(finding.remedy for finding in findings if finding.level == "note")
    assert "GOOGLE_API_KEY" in found("gemini key").remedy
    assert found("object store").found == "not started"
    assert found("ledger").found == "sqlite, no runs yet"


def test_a_key_is_seen_and_not_shown(home, monkeypatch):
    """Whether it is set, not what it is."""
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-canary")
    assert found("gemini key").level == "ok"
    assert "AIza" not in repr(checkup(Settings()))


def test_a_home_that_cannot_be_written_is_bad(home):
    """With the variable to set."""
    with unwritable(home):
        assert (found("home").level, found("ledger").level) == ("bad", "bad")
        assert "IMAGEMILL_HOME" in found("home").remedy


def test_little_disk_is_noted(home, monkeypatch):
    """Before a batch fills it."""
    monkeypatch.setattr(checkup_module, "LOW_DISK_BYTES", 10**18)
    assert found("home").level == "note"


def test_an_object_store_that_is_away_is_bad(home, monkeypatch):
    """The variables are there, the server is not."""
    monkeypatch.setenv("IMAGEMILL_S3_BUCKET", "b")
    monkeypatch.setenv("IMAGEMILL_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("IMAGEMILL_S3_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("IMAGEMILL_S3_SECRET_ACCESS_KEY", "s")
    finding = found("object store")
    assert finding.level == "bad"
    assert finding.remedy


def test_a_database_address_that_is_none_is_bad_and_the_command_says_so(home, monkeypatch):
    """Exit code 1, so that scripts notice."""
    monkeypatch.setenv("IMAGEMILL_DATABASE_URL", "mysql://x/y")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "SQLite or PostgreSQL" in " ".join(result.stderr.split())


def test_a_healthy_machine_exits_0(home):
    """Notes alone are no failure."""
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0


# --- ComfyUI -------------------------------------------------------------------------------------


def test_comfyui_is_one_quiet_row_where_nobody_named_one(home):
    """Nobody is asked; the variable that would."""
    finding = found("comfyui")
    assert (finding.level, finding.found) == ("note", "not configured")
    assert "IMAGEMILL_COMFYUI_URL" in finding.remedy


def test_a_comfyui_that_is_named_is_asked_for_nodes_and_checkpoint(home):
    """Version, address and model; a checkpoint it lacks is bad, and so is one that is away."""
    with FakeComfy() as fake:
        finding = found("comfyui", comfyui_url=fake.url)
        assert (finding.level, fake.submitted) == ("ok", [])
        assert finding.found.startswith(f"0.3.64 at {fake.url}, draws with v1-5-pruned")
        lacking = found("comfyui", comfyui_url=fake.url, comfyui_checkpoint="mine.ckpt")
        assert (lacking.level, "mine.ckpt" in lacking.found) == ("bad", True)
    away = found("comfyui", comfyui_url=fake.url)
    assert (away.level, "IMAGEMILL_COMFYUI_URL" in away.remedy) == ("bad", True)


# --- local SDXL ----------------------------------------------------------------------------------


@pytest.fixture
def folder(home, tmp_path, monkeypatch):
    """A models folder with one checkpoint by name, on a machine that draws on the CPU."""
    folder = tmp_path / "models"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "RealVisXL_V4.0.safetensors").write_bytes(b"no weights")
    monkeypatch.setenv("IMAGEMILL_SDXL_MODELS", str(folder))
    monkeypatch.setenv("IMAGEMILL_SDXL_DEVICE", "cpu")
    return folder


def test_local_sdxl_is_one_quiet_row_where_nobody_set_it_up(home, monkeypatch):
    """No search for GPUs, no library, no folder; and the variable that would."""
    monkeypatch.setattr("apps.gpu_checkup.visible_gpus", lambda _device: 1 / 0)
    assert [f.what for f in checkup(Settings()) if "sdxl" in f.what] == ["local sdxl"]
    assert "IMAGEMILL_SDXL_MODELS" in found("local sdxl").remedy


def test_a_models_folder_is_counted_and_what_it_lacks_is_said(folder):
    """The shared VAE's absence is a note; its name is shown once it is there."""
    finding = found("sdxl models")
    assert (finding.level, finding.found) == (
        "note", "1 checkpoint, no shared VAE, no ControlNet, 0 LoRAs",
    )  # fmt: skip
    for part in ("vae/sdxl-vae-fp16-fix", "controlnet/canny-sdxl", "loras/ink", "loras/lace"):
        file = folder / f"{part}.safetensors"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    finding = found("sdxl models")
    assert finding.level == "ok"
    assert finding.found.endswith("VAE sdxl-vae-fp16-fix.safetensors, ControlNet canny, 2 LoRAs")


def test_a_style_without_its_checkpoint_is_named_and_a_broken_one_is_bad(folder, monkeypatch):
    """A file that is no checkpoint is found here, not by the first batch."""
    assert (found("sdxl styles").level, found("sdxl styles").remedy != "") == ("bad", True)
    assert "RealVisXL_V4.0.safetensors" in found("sdxl styles").found
    monkeypatch.setattr("apps.gpu_checkup.check_checkpoint", lambda *_a, **_k: None)
    finding = found("sdxl styles")
    assert finding.level == "note"
    assert "Anime (animagine…), Semi Realistic (BSSEquinox…)" in finding.found
    assert "docs/sdxl.md" in finding.remedy


def test_a_models_folder_that_is_not_there_is_bad(folder, monkeypatch):
    """With the variable that names it."""
    monkeypatch.setenv("IMAGEMILL_SDXL_MODELS", str(folder / "nowhere"))
    assert found("sdxl models").level == found("sdxl styles").level == "bad"
    assert "IMAGEMILL_SDXL_MODELS" in found("sdxl models").remedy


def test_configs_and_libraries_that_are_missing_name_the_setup(folder, monkeypatch, tmp_path):
    """Both come from `make setup-gpu`."""
    monkeypatch.setenv("IMAGEMILL_SDXL_CONFIG", str(tmp_path))
    monkeypatch.setattr("apps.gpu_checkup.libraries_installed", lambda: False)
    for what in ("sdxl config", "sdxl libraries"):
        assert found(what).level == "bad"
        assert "make setup-gpu" in found(what).remedy


def test_a_gpu_with_a_torch_that_cannot_use_it_is_bad(folder, monkeypatch):
    """The CPU build beside a GPU draws for minutes what takes seconds, and says nothing itself."""
    gpu = Gpu(0, "GPU-1", "NVIDIA L4, 22.5 GiB")
    monkeypatch.setattr("apps.gpu_checkup.visible_gpus", lambda _device: (gpu,))
    monkeypatch.setattr("apps.gpu_checkup.libraries_installed", lambda: True)
    for version, level in (("2.13.0+cpu", "bad"), ("2.13.0+cu130", "ok")):
        monkeypatch.setattr("apps.gpu_checkup.version", lambda _name, said=version: said)
        assert found("gpu").level == level
        assert "0: NVIDIA L4, 22.5 GiB" in found("gpu").found


def test_up_gpu_warns_when_there_is_nothing_to_draw_with(home, folder, monkeypatch):
    """A wrong folder, or none and no saved block (nor a server that knows one); it starts all the same."""
    assert sdxl_lacks(Settings(), "") is None
    assert "nowhere" in sdxl_lacks(Settings(sdxl_models="/nowhere"), "").message
    lack = sdxl_lacks(Settings(sdxl_models=""), "http://127.0.0.1:9/api")
    assert "IMAGEMILL_SDXL_MODELS" in lack.remedy
