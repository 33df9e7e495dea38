"""`imagemill assets` without any service: the example, refusals, prices, how it ends. Nothing is sent."""

import json

import pytest
import typer

from apps.cli.assets import exit_code, finish_assets
from imagemill.pack.example import EXAMPLE
from imagemill.pack.page import check_own_folder
from imagemill.pack.reading import read_pack
from tests.apps.test_cli import cli, fake, gemini_server  # noqa: F401 - fixtures

CANARY = "canary in a coal mine"


def test_the_example_is_a_pack_that_can_be_priced(cli, tmp_path):  # noqa: F811
    """What `--example` writes is read again, has assets, states and an animation, and a price."""
    place = tmp_path / "mine.yaml"
    written = cli("assets", str(place), "--example")
    assert written.exit_code == 0
    pack = read_pack(place.read_text("utf-8"))
    assert (len(pack.requests()), len(pack.animated())) == (10, 1)
    priced = cli("assets", str(place), "--dry-run", "--json")
    assert priced.exit_code == 0, priced.output
    found = json.loads(priced.stdout)
    assert (found["least_pictures"], found["most_pictures"]) == (16, 48)
    assert 0 < float(found["least_usd"]) < float(found["most_usd"])
    free = cli("assets", str(place), "--dry-run", "--provider", "sketch")
    assert "$0 to $0" in free.stdout
    again = cli("assets", str(place), "--example")
    assert (again.exit_code, place.read_text("utf-8")) == (2, EXAMPLE)


def test_the_example_in_the_repository_is_the_same():
    """`examples/pack.yaml` is what the README shows."""
    from pathlib import Path

    assert Path("examples/pack.yaml").read_text("utf-8") == EXAMPLE


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        (f"pack: x\nassets:\n  - name: a\n    description: {CANARY}\n    sizes: 3", (), "line 5: a field"),
        (f"pack: x\nassets:\n  - {{name: a, description: {CANARY}}}", ("--provider", "nobody"), "nobody"),
        (f"pack: x\nassets:\n  - {{name: a, description: {CANARY}}}", ("--webhook", "http://10.0.0.1/"),
         ""),
        (f"pack: x\nstyle_guide: {{artStyle: cubist}}\nassets:\n  - {{name: a, description: {CANARY}}}",
         (), "Known art styles"),
        (f"pack: x\nassets: {CANARY}: y", (), "not YAML at line 2"),
    ],
)  # fmt: skip
def test_wrong_usage_exits_2_with_a_remedy_and_repeats_nothing(cli, tmp_path, text, more, words):  # noqa: F811
    """Before any service is started."""
    place = tmp_path / "pack.yaml"
    place.write_text(text, "utf-8")
    ended = cli("assets", str(place), *more)
    assert ended.exit_code == 2, ended.output
    assert words in " ".join(ended.output.split())
    assert "→" in ended.output
    assert CANARY not in ended.output


def test_no_file_and_a_missing_file_say_where_to_start(cli, tmp_path):  # noqa: F811
    """`--example` is one word away."""
    for arguments in ((), (str(tmp_path / "none.yaml"),), (str(tmp_path),)):
        ended = cli("assets", *arguments)
        assert ended.exit_code == 2
        assert "--example" in ended.output


def test_a_pack_may_come_from_standard_input(cli):  # noqa: F811
    """For programs."""
    ended = cli("assets", "-", "--dry-run", "--provider", "sketch", typed=EXAMPLE)
    assert ended.exit_code == 0, ended.output


@pytest.mark.parametrize(
    ("made", "failed", "reason", "film", "code"),
    [(3, 0, "", "success", 0), (2, 1, "NoImage", "success", 3), (0, 2, "NoImage", "success", 4),
     (1, 1, "RunStopped", "success", 130), (3, 0, "", "failed", 3)],
)  # fmt: skip
def test_the_exit_code_says_how_it_ended(made, failed, reason, film, code):
    """As for `batch`; an animation without its sheet is a failure, too."""
    results = [{"status": "success"}] * made + [{"error": {"reason": reason}}] * failed
    result = {
        "results": results, "success_count": made, "failure_count": failed,
        "animations": [{"status": film}],
    }  # fmt: skip
    assert exit_code(result) == code


@pytest.mark.parametrize("as_json", [False, True])
def test_resumed_assets_without_a_pack_are_shown_like_one(capsys, as_json):
    """`imagemill resume` of the asset flow's run: no page, no animation, no consistency."""
    result = {
        "success_count": 1, "failure_count": 1, "total": 2, "from_cache_count": 1, "passed_count": 1,
        "target_score": 90, "judge": "pixels", "contact_sheet_path": "sheet.png",
        "cost_summary": {"total_usd": "0.04", "images_generated": 1, "vision_calls": 0,
                         "refine_calls": 0},
        "results": [{"requestId": "a", "status": "success"},
                    {"requestId": "b", "status": "failed",
                     "error": {"reason": "ContentBlocked", "message": "It was blocked."}}],
    }  # fmt: skip
    with pytest.raises(typer.Exit) as ended:
        finish_assets(result, as_json=as_json)
    assert ended.value.exit_code == 3
    if as_json:
        assert json.loads(capsys.readouterr().out) == result


def test_another_packs_folder_is_refused_before_anything_is_made(cli, tmp_path):  # noqa: F811
    """Its page and its files would be written over; the same pack again may."""
    page = tmp_path / "out" / "report.html"
    page.parent.mkdir()
    page.write_text("<!doctype html><title>night &amp; harbor · 14 assets</title>", "utf-8")
    place = tmp_path / "pack.yaml"
    place.write_text("pack: other\nassets:\n  - {name: a, description: a fish}", "utf-8")
    ended = cli("assets", str(place), "--provider", "sketch", "--out", str(page.parent))
    assert ended.exit_code == 2, ended.output
    assert "'night & harbor'" in " ".join(ended.output.split())
    assert [p.name for p in page.parent.iterdir()] == ["report.html"]
    check_own_folder(page.parent, "night & harbor")
    check_own_folder(tmp_path / "new", "other")
