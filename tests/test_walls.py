"""The walls: pins that fail at once, one reader of the environment, one head of the migrations."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
ROOMS = ("imagemill", "blocks", "tasks", "flows", "apps", "deployments")
SOURCES = sorted(file for room in ROOMS for file in (PROJECT / room).rglob("*.py"))


def test_the_prefect_server_app_can_be_made():
    """A FastAPI that Prefect's server does not work with fails here, not at a newcomer's first run."""
    from prefect.server.api.server import create_app

    assert create_app(ephemeral=True).title


def touches_environment(tree: ast.AST) -> bool:
    """Whether the code names `os.environ` or `os.getenv`."""
    return any(
        (isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"})
        or (isinstance(node, ast.ImportFrom) and node.module == "os")
        for node in ast.walk(tree)
    )


def test_only_settings_modules_read_the_environment():
    """Everything else is told by them. Two modules write it, because Prefect reads nothing else."""
    found = {
        str(file.relative_to(PROJECT))
        for file in SOURCES
        if touches_environment(ast.parse(file.read_text("utf-8")))
    }
    readers = {"apps/services/settings.py", "blocks/settings.py"}
    writers = {"apps/runs.py", "deployments/bootstrap.py"}
    assert found - readers - writers == set()
    for name in writers:
        code = (PROJECT / name).read_text("utf-8")
        assert not re.search(r"getenv|environ(ment)?(\.get\(|\[)[\"']", code)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("apps.cli", "prefect"),
        ("apps.cli", "google.genai"),
        ("apps.cli", "boto3"),
        ("imagemill.providers.gemini", "google.genai"),
        ("imagemill.asset.gemini_judge", "google.genai"),
        ("imagemill.style_router", "google.genai"),
        ("imagemill.store.s3", "boto3"),
        ("imagemill.transparency_rembg", "rembg"),
        ("imagemill.transparency_u2net", "onnxruntime"),
        ("imagemill.providers.sdxl.prompting", "torch"),
        ("imagemill.providers.sdxl.prompting", "transformers"),
    ],
)
def test_heavy_libraries_are_imported_late(module, heavy):
    """`imagemill --help` must not wait for Prefect, nor a sketch for Google's SDK."""
    code = f"import sys, {module}; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_the_migrations_have_one_head_and_the_ledger_opens_at_it():
    """Two heads would leave the next start to guess."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from imagemill.ledger.database import HEAD

    config = Config()
    config.set_main_option("script_location", "imagemill:ledger/migrations")
    heads = ScriptDirectory.from_config(config).get_heads()
    assert heads == [HEAD]


def test_no_file_is_a_drawer_for_everything():
    """No utils, helpers, common, core, manager or misc; files stop at 300 lines."""
    names = {"utils", "helpers", "common", "core", "manager", "misc"}
    assert [f for f in SOURCES if names & {f.stem, *f.relative_to(PROJECT).parts}] == []
    assert [f.name for f in SOURCES if len(f.read_text("utf-8").splitlines()) > 300] == []
