"""The command line without any service: help, shelves, prices, refusals, checks. Nothing is sent."""

import json
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from apps.cli import app
from apps.cli.batch import exit_code, read_prompts
from apps.cli.screen import closing_card, failure_table, guarded, live_bar, screen
from apps.cli.shelf import out
from imagemill.errors import RequestError
from imagemill.prompt import shelf
from imagemill.request import BatchResult
from imagemill.workshop import Progress
from tests.builders import image_result
from tests.unit.small_workshop import unwritable
from tests.wire.gemini import FakeGemini

COMMANDS = (
    "batch", "demo", "styles", "models", "estimate", "up", "down", "status", "doctor", "webhooks",
    "reconcile", "sdxl",
)  # fmt: skip


@pytest.fixture(scope="module")
def gemini_server():
    with FakeGemini() as running:
        yield running


@pytest.fixture
def fake(gemini_server):
    gemini_server.reset()
    return gemini_server


@pytest.fixture
def cli(home, fake, monkeypatch):
    """Run a command in a fresh home, with a key and a fake Gemini that must not be asked."""
    monkeypatch.setenv("GOOGLE_API_KEY", "AIza-only-for-tests")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", fake.url)
    monkeypatch.setenv("COLUMNS", "200")
    for console in (screen, out):
        monkeypatch.setattr(console, "width", 200)

    def run(*arguments: str, typed: str = ""):
        return CliRunner().invoke(app, list(arguments), input=typed)

    yield run
    assert fake.stats.requests == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_is_for(cli, command):
    """A first sentence in the list, the whole under --help."""
    listed, helped = cli("--help"), cli(command, "--help")
    assert (listed.exit_code, helped.exit_code) == (0, 0)
    assert command in listed.stdout


def test_help_shows_an_example_and_the_exit_codes(cli):
    """Somebody who reads only the help can start."""
    assert 'imagemill batch "a red fox"' in cli("batch", "--help").stdout
    top = " ".join(cli("--help").stdout.split())
    assert "imagemill demo" in top
    assert "3 some failed, 4 all failed, 2 wrong usage" in top


def test_styles_are_shown_for_people_and_programs(cli):
    """Names and what they are; JSON holds every field."""
    shown = cli("styles").stdout
    listed = json.loads(cli("styles", "--json").stdout)
    assert [style["name"] for style in listed] == list(shelf())
    assert all(style["name"] in shown for style in listed)


def test_models_are_shown_with_their_price(cli):
    """And when it was read."""
    shown = cli("models").stdout
    listed = json.loads(cli("models", "--json").stdout)
    assert "sketch-1" in shown
    assert all(model["name"] in shown for model in listed)
    assert any(str(model["read_on"]) in shown for model in listed)


def test_an_estimate_names_least_and_most_and_sends_nothing(cli):
    """24 images of the default model, priced from the catalog (the fake sees no request)."""
    shown = cli("estimate", *(f"prompt {n}" for n in range(8)), "--samples", "3")
    assert shown.exit_code == 0
    assert "24 images" in shown.stdout
    assert "nothing was sent" in " ".join(shown.stdout.split())
    data = json.loads(cli("estimate", "a fox", "--json").stdout)
    assert 0 < float(data["min_usd"]) <= float(data["max_usd"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["batch"], "list is empty"),
        (["batch", "a fox", "--style", "Nonesuch"], "Known styles: .*Flat Corporate.*Watercolor"),
        (["batch", "-f", "/nowhere/prompts.txt"], "UTF-8 text file with one prompt a line"),
        (["batch", "a fox", "--aspect-ratio", "7:5"], "aspect_ratio is one of"),
        (["batch", "a fox", "--size", "huge"], "size is one of"),
        (["batch", "y" * 32_001], "at most 32000"),
        (["estimate", "a fox", "--provider", "dalle"], "gemini, comfyui, sdxl, sketch"),
        (["estimate", "a fox", "--model", "gemini-0"], "gemini-nano-banana"),
        (["batch", "a fox", "--max-concurrent", "0"], "max-concurrent"),
        (["batch", "a fox", "--samples", "17"], "samples"),
        (["batch", "a fox", "--provider", "dalle"], "gemini, comfyui, sdxl, sketch"),
        (["batch", "a fox", "--fallback", "dalle"], "gemini, comfyui, sdxl, sketch"),
        (["batch", "a fox", "--fallback", "sketch", "--fallback", "sketch"], "twice"),
        (["estimate", "a fox", "--fallback", "gemini:gemini-0"], "fallback gemini cannot draw"),
        (["batch", "a fox", "--webhook", "http://169.254.169.254/"], "Only https"),
        (["batch", "a fox", "--webhook", "https://169.254.169.254/"], "No list can allow it"),
        (["batch", "a fox", "--reference", "/nowhere/fox.png"], "Check that the file exists"),
    ],
)
def test_wrong_usage_is_one_clear_error_and_exit_code_2(cli, home, arguments, said):
    """What was wrong and what is taken; no service is started, no home is made."""
    import re

    result = cli(*arguments)
    assert result.exit_code == 2
    assert re.search(said, " ".join(result.stderr.split()))
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert not (home / "services.json").exists()


def test_a_prompts_file_may_have_a_mark_blank_lines_and_windows_ends(tmp_path):
    """What Notepad saves is read as it was meant."""
    file = tmp_path / "prompts.txt"
    file.write_bytes(b"\xef\xbb\xbfa red fox\r\n\r\n   \r\n  a k\xc3\xa9pi \r\n")
    assert read_prompts(file) == ["a red fox", "a képi"]
    assert read_prompts(None) == []


def test_a_prompts_file_in_another_encoding_is_refused(tmp_path):
    """Rather than drawn from garbage."""
    file = tmp_path / "prompts.txt"
    file.write_bytes("a képi".encode("latin-1"))
    with pytest.raises(RequestError, match="not UTF-8"):
        read_prompts(file)


def test_prompts_may_come_from_standard_input(cli):
    """`… | imagemill batch -f -`."""
    priced = cli("estimate", "-f", "-", "--json", typed="a fox\n\na whale\n")
    assert json.loads(priced.stdout)["images"] == 2


def test_ctrl_c_says_what_is_kept_and_exits_130(capsys):
    """At any moment of any command."""
    import typer

    @guarded
    def command():
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as stopped:
        command()
    assert stopped.value.exit_code == 130


def batch_of(*, good: int, bad: int) -> dict:
    results = tuple(image_result(index=n) for n in range(good)) + tuple(
        image_result(index=good + n, success=False, status="not_started", sha256=None,
                     error="[no] key", error_class="misconfigured")
        for n in range(bad)
    )  # fmt: skip
    return BatchResult.of("run", results, gallery_path="/g.html").to_json()


@pytest.mark.parametrize(("good", "bad", "code"), [(2, 0, 0), (1, 1, 3), (0, 2, 4)])
def test_exit_codes_tell_how_many_were_made(good, bad, code):
    """0 all, 3 some failed, 4 all failed."""
    assert exit_code(batch_of(good=good, bad=bad)) == code


def printed(thing) -> str:
    from rich.console import Console

    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(thing)
    return console.export_text()


def test_the_closing_card_names_failures_by_number():
    """Counts, money, places; an error with brackets in it is shown as it is, and once for all."""
    shown = printed(closing_card(batch_of(good=2, bad=30), title="Pixel Art"))
    assert "2 of 32 made" in shown
    assert shown.count("[no] key") == 1
    assert "3-32" in shown
    assert "red fox" not in shown
    assert failure_table(batch_of(good=1, bad=0)) is None


def test_the_closing_card_says_who_drew_what_when_several_did():
    """One line, most first; nothing when one drew them all."""
    results = tuple(
        image_result(index=at, provider=provider, model="m-1", reused=False)
        for at, provider in enumerate(("gemini", "gemini", "sketch"))
    )
    shown = printed(closing_card(BatchResult.of("r", results).to_json(), title="Pixel Art"))
    assert "2 by gemini/m-1, 1 by sketch/m-1" in shown
    alone = closing_card(BatchResult.of("r", results[:2]).to_json(), title="Pixel Art")
    assert "drawn" not in printed(alone)


def test_the_live_bar_counts():
    """Made, reused, failed, as they come."""
    with live_bar(4) as moved:
        moved(Progress(total=4, completed=3, succeeded=2, failed=1, reused=1))


def test_status_and_down_of_a_machine_where_nothing_runs(cli):
    """Nothing is started only to look."""
    looked, stopped = cli("status"), cli("down")
    assert (looked.exit_code, stopped.exit_code) == (0, 0)
    assert "stopped" in looked.stderr
    assert "Nothing was running" in stopped.stderr


def test_the_module_can_be_run(monkeypatch, capsys):
    """`imagemill` is `apps.cli:main`."""
    from apps.cli import main

    monkeypatch.setattr(sys, "argv", ["imagemill", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_an_unwritable_home_is_named(cli, home):
    """IMAGEMILL_HOME is the variable to change."""
    with unwritable(home):
        result = cli("batch", "a fox", "--provider", "sketch")
    assert result.exit_code == 1
    assert "IMAGEMILL_HOME" in result.stderr
    assert Path(home).parent.exists()


def test_version_status_and_doctor_are_there_for_programs(cli):
    """One line, and JSON that holds what the table shows."""
    assert cli("--version").stdout.startswith("imagemill 0.")
    rows = json.loads(cli("status", "--json").stdout)
    assert {"prefect", "object_store"} <= {row["name"] for row in rows}
    found = json.loads(cli("doctor", "--json").stdout)
    assert {"home", "ledger"} <= {finding["what"] for finding in found}


def test_ctrl_c_while_everything_is_still_imported_is_quiet(monkeypatch, capsys):
    """Exit 130 and a sentence, not forty lines of somebody's import."""
    from apps import door

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("apps.cli.main", interrupted)
    with pytest.raises(SystemExit) as ended:
        door.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Stopped before anything was begun.\n"


def test_the_closing_words_hold_each_path_whole(capsys, monkeypatch):
    """A path that is cut or broken by a border cannot be copied; eighty columns are not enough."""
    from apps.cli import screen as screens

    monkeypatch.setattr(screens, "screen", Console(stderr=True, width=80))
    result = batch_of(good=1, bad=0)
    result["gallery_path"] = "/home/somebody/" + "long-folder/" * 12 + "g.html"
    screens.show_closing(result, title="Pixel Art")
    assert result["gallery_path"] in capsys.readouterr().err


def test_lost_answers_have_their_price_on_the_card():
    """How many, what is counted for them, and the command that settles them."""
    result = batch_of(good=1, bad=1)
    result["results"][1] |= {"status": "ambiguous", "cost_usd": "0.0426"}
    shown = " ".join(printed(closing_card(result, title="Pixel Art")).split())
    assert "1, $0.0426 counted as spent: `imagemill reconcile`" in shown


@pytest.mark.parametrize("command", ["resume", "retry"])
def test_an_empty_id_is_not_the_newest_run(cli, command):
    """`imagemill resume "$RUN"` with RUN unset must not pay for another run."""
    refused = cli(command, "")
    assert refused.exit_code == 2
    assert "id is empty" in refused.stderr


def test_a_run_that_the_ledger_does_not_know_is_not_a_clean_book(cli):
    """A slip in the id must not read as: nothing is open."""
    refused = cli("reconcile", "--run", "nonsense")
    assert refused.exit_code == 2
    assert "knows no run nonsense" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sdxl"], "no prompt|the list is empty"),
        (["sdxl", "a fox", "--style", "Nope"], "no style"),
        (["sdxl", "a fox", "--lora", "ink:9"], "from -4 to 4"),
        (["sdxl", "a fox", "--sampler", "magic"], "sampler"),
        (["sdxl", "a fox", "--reference", "/nowhere.png"], "reference image"),
        (["sdxl", "a fox", "--warm", "--workers", "2"], "exclude each other"),
    ],
)
def test_sdxl_refuses_what_is_plainly_wrong_before_any_service_starts(cli, home, arguments, said):
    """In a second, with the remedy; no home is made for it."""
    refused = cli(*arguments)
    assert refused.exit_code == 2
    assert re.search(said, " ".join(refused.stderr.split()))
    assert not (home / "services.json").exists()
