"""`make setup-gpu` makes SDXL's config folder out of the checked vocabulary, or nothing at all."""

import json

import pytest

from apps.gpu_setup import MEMBER, prepare
from imagemill.errors import ServiceError
from imagemill.providers.sdxl.config_folder import SHIPPED
from imagemill.providers.sdxl.tokenizers import tokenizer_files


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
