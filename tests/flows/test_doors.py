"""The main job through its doors: the command line, and a Python caller without any server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.cli import app
from apps.cli.screen import screen
from blocks.settings import local_secrets
from blocks.store import forget_stores
from tests.wire.pixels import png

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cli(mill, monkeypatch):
    """Run a command in this process, as the shell would; the environment is put back."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(screen, "width", 200)
    before = dict(os.environ)

    def run(*arguments: str):
        return CliRunner().invoke(app, list(arguments))

    yield run
    os.environ.clear()
    os.environ.update(before)


def test_all_made_is_exit_code_0_and_json_is_all_that_is_on_standard_output(cli, words, tmp_path):
    """A program can read it; what people see goes to standard error."""
    prompts = words(2)
    file = tmp_path / "prompts.txt"
    file.write_text("\ufeff" + "\n\n".join(prompts) + "\n", "utf-8")
    done = cli("batch", "-f", str(file), "--json", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    assert [entry["prompt"] for entry in result["results"]] == prompts
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def test_rows_of_a_file_are_drawn_with_what_they_have_of_their_own(cli, words, tmp_path):
    """A path that a row names may be read by this run, as one that is typed."""
    one, two = words(2)
    (tmp_path / "look.png").write_bytes(png(b"look", width_px=40, height_px=40))
    file = tmp_path / "rows.csv"
    rows = f"{one},Watercolor,2:3,{tmp_path}/look.png\n{two},,,\n"
    file.write_text(f"prompt,style_name,aspect_ratio,references\n{rows}", "utf-8")
    done = cli("batch", "-f", str(file), "--json")
    assert done.exit_code == 0, done.stderr
    result = json.loads(done.stdout)
    first, second = result["results"]
    assert [first["style_name"], second["style_name"]] == ["Watercolor", "Flat Corporate"]
    manifest = json.loads(Path(result["gallery_path"]).with_name("manifest.json").read_text())
    assert [len(image["request"]["references"]) for image in manifest["images"]] == [1, 0]


def test_some_failed_is_exit_code_3_and_the_card_says_why(cli, mill, words):
    """By number, with the remedy, on standard error; standard output stays empty."""
    mill.fake.script(faults=[{"kind": "prompt_blocked", "prompt": "number 2 of"}])
    prompts = words(2)
    done = cli("batch", *prompts)
    assert done.exit_code == 3
    assert done.stdout == ""
    assert "1 of 2 made, 1 not made" in done.stderr
    assert prompts[0] not in done.stderr


def test_all_failed_is_exit_code_4_and_names_the_key(cli, mill, words, monkeypatch):
    """Without a key nothing is sent (B10)."""
    monkeypatch.delenv("GOOGLE_API_KEY")
    done = cli("batch", *words(2))
    assert done.exit_code == 4
    assert "GOOGLE_API_KEY" in done.stderr
    assert mill.fake.stats.requests == 0


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--webhook", "http://10.0.0.1/hook"], 2, "IMAGEMILL_WEBHOOK_PRIVATE_HOSTS"),
        (["--webhook", "nobody"], 2, "No block webhook-endpoint/nobody"),
        (["--out", "/dev/null/out"], 1, "--out"),
        (["--provider", "gemini/nobody"], 2, "no block gemini/nobody"),
        (["--reference", "/nowhere.png"], 2, "reference"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(cli, mill, words, options, code, said):
    """One line and a remedy; no traceback."""
    done = cli("batch", *words(1), *options)
    assert done.exit_code == code, done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert mill.fake.stats.requests == 0


@pytest.mark.parametrize("fault", ["wrong secret", "away"])
def test_a_store_that_does_not_work_is_exit_code_1(cli, mill, words, monkeypatch, fault):
    """The user's own S3: the error says where it was looked for; the secret is not shown."""
    url = mill.services.object_store_url if fault == "wrong secret" else "http://127.0.0.1:9"
    for name, value in {
        "BUCKET": "imagemill", "ENDPOINT_URL": url, "ACCESS_KEY_ID": "imagemill",
        "SECRET_ACCESS_KEY": "canary-secret",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"IMAGEMILL_S3_{name}", value)
    forget_stores()
    done = cli("batch", *words(1))
    assert done.exit_code == 1
    assert "→" in done.stderr
    assert "canary-secret" not in done.stderr
    assert mill.fake.stats.requests == 0


def test_a_saved_block_is_a_provider_by_name(mill, words):
    """`sketch/NAME`: what an operator saved in the form breaks on purpose, and is retried."""
    import asyncio

    from blocks.provider import Sketch
    from imagemill.artifact import text_digest
    from imagemill.prompt import find_style

    prompts = words(3)
    first = text_digest(find_style("Flat Corporate").render(prompts[0]))
    second = text_digest(find_style("Flat Corporate").render(prompts[1]))
    block = Sketch(unavailable_once=[first], blocked=[second])
    asyncio.run(block.asave("test-doors", overwrite=True))
    result = mill.run(prompts, provider="sketch/test-doors", size="256")
    assert [entry["status"] for entry in result["results"]] == ["made", "failed", "made"]
    assert result["results"][0]["attempts"] == 2
    assert result["cost_usd"] == "0"
    assert mill.fake.stats.requests == 0


def test_the_demo_runs_and_a_second_one_pays_nothing(cli, mill, tmp_path):
    """24 prompts, three styles, failures on purpose, signed webhooks, and where everything is."""
    out = tmp_path / "demo"
    first = cli("demo", "--out", str(out))
    assert first.exit_code == 0, first.stderr
    assert "23 of 24 made" in first.stderr
    assert "3 received, signature verified" in first.stderr
    assert "Next:" in first.stderr
    assert (out / "contact-sheet.png").is_file()
    assert len((out / "webhooks.jsonl").read_text().splitlines()) == 3
    second = cli("demo", "--out", str(out))
    assert "23 reused" in second.stderr


@pytest.mark.timeout(300)
def test_a_python_caller_without_a_server_gets_the_same(mill, words, tmp_path):
    """Fresh home, no Prefect address: Prefect's own short-lived server does, and says no red word."""
    own = local_secrets(mill.home)
    code = (
        "import asyncio, json, sys; from flows.batch import generate_images_batch as batch;"
        "print(json.dumps(asyncio.run(batch(prompts=json.loads(sys.argv[1])))))"
    )
    environment = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "IMAGEMILL_"))
    } | {
        "HOME": str(tmp_path),
        "IMAGEMILL_HOME": str(tmp_path / "mill"),
        "IMAGEMILL_S3_BUCKET": mill.services.bucket,
        "IMAGEMILL_S3_ENDPOINT_URL": mill.services.object_store_url,
        "IMAGEMILL_S3_ACCESS_KEY_ID": own["s3_access_key_id"],
        "IMAGEMILL_S3_SECRET_ACCESS_KEY": own["s3_secret_access_key"],
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }  # fmt: skip
    prompts = words(2)
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(prompts)], cwd=PROJECT, env=environment,
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["success_count"], result["total"]) == (2, 2)
    assert [entry["prompt"] for entry in result["results"]] == prompts
    assert (tmp_path / "mill" / "ledger.db").is_file()
