"""`make setup-gpu` makes SDXL's config folder out of the checked vocabulary, or nothing at all."""

import gzip
import hashlib
import json

import pytest

from apps.gpu_setup import MEMBER, prepare
from imagemill.errors import ServiceError
from imagemill.providers.sdxl.config_folder import SHIPPED
from imagemill.providers.sdxl.tokenizers import ENTRIES, MERGES, tokenizer_files


def test_another_vocabulary_installs_nothing(tmp_path):
    """A package without the file, or with another one under its name, stops the setup."""
    package, target = tmp_path / "package", tmp_path / "share" / "sdxl"
    with pytest.raises(SystemExit, match="not in the package"):
        prepare(package, target)
    (package / MEMBER).parent.mkdir(parents=True)
    (package / MEMBER).write_bytes(b"something else")
    with pytest.raises(SystemExit, match="not the file that was checked"):
        prepare(package, target)
    assert not target.exists()
    with pytest.raises(ServiceError, match="checked"):
        tokenizer_files(b"")


def test_every_part_that_the_index_names_is_described():
    """model_index.json names seven parts; all but the computed tokenizers ship with the package."""
    index = json.loads((SHIPPED / "model_index.json").read_text("utf-8"))
    parts = {name for name, value in index.items() if isinstance(value, list) and value[0]}
    shipped = {path.parent.name for path in SHIPPED.glob("*/*.json")}
    assert parts - shipped == {"tokenizer", "tokenizer_2"}
    assert shipped <= parts


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An unpacked package with a vocabulary of the right length, taken for the checked one."""
    lines = ["#version", *(f"{number} x" for number in range(MERGES)), "beyond what counts"]
    data = gzip.compress("\n".join(lines).encode())
    digest = hashlib.sha256(data).hexdigest()
    monkeypatch.setattr("imagemill.providers.sdxl.tokenizers.BPE_SHA256", digest)
    (tmp_path / "package" / MEMBER).parent.mkdir(parents=True)
    (tmp_path / "package" / MEMBER).write_bytes(data)
    return tmp_path / "package"


def test_the_folder_is_whole_and_a_second_time_the_same(package, tmp_path):
    """Configs, sampler, index and both tokenizers are there; merges beyond CLIP's are not."""

    def files():
        return {
            path: path.read_bytes() for path in (tmp_path / "sdxl").rglob("*") if path.is_file()
        }

    assert str(tmp_path / "sdxl") in prepare(package, tmp_path / "sdxl")
    before = files()
    assert len(before) == len(list(SHIPPED.rglob("*.json"))) + 8
    vocabulary = json.loads((tmp_path / "sdxl/tokenizer_2/vocab.json").read_bytes())
    assert len(vocabulary) == ENTRIES
    assert vocabulary["<|endoftext|>"] == ENTRIES - 1
    merges = (tmp_path / "sdxl/tokenizer/merges.txt").read_text("utf-8").splitlines()
    assert merges[-1] == f"{MERGES - 1} x"
    prepare(package, tmp_path / "sdxl")
    assert files() == before


def test_what_could_not_be_written_whole_has_no_index(package, tmp_path):
    """A full disk ends the setup with a sentence; a folder with an index is a whole one."""
    target = tmp_path / "sdxl"
    prepare(package, target)
    (target / "vae/config.json").unlink()
    (target / "vae").rmdir()
    (target / "vae").write_bytes(b"in the way")
    with pytest.raises(SystemExit, match="cannot be written"):
        prepare(package, target)
    assert not (target / "model_index.json").exists()
