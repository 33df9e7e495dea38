"""Prompts files with rows: JSON lines and CSV, each refusal with the number of the row or line."""

import re

import pytest
from typer.testing import CliRunner

from apps.cli import app
from apps.cli.prompts import read_prompts
from apps.cli.screen import screen
from imagemill.errors import RequestError
from imagemill.planning import checked_batch
from imagemill.rows import Row

CANARY = "xyzzy the canary sings"


@pytest.fixture
def file(tmp_path):
    """Write a prompts file of some kind."""

    def written(kind, text):
        path = tmp_path / f"rows.{kind}"
        path.write_bytes(text.encode())
        return path

    return written


def test_json_lines_are_words_or_rows(file):
    """One a line; blank lines are left out."""
    path = file(
        "jsonl", '"a fox"\r\n\n{"prompt": "a\\u2028whale", "seed": 0, "references": ["a"]}\n'
    )
    assert read_prompts(path) == [
        "a fox", {"prompt": "a\u2028whale", "seed": 0, "references": ["a"]},
    ]  # fmt: skip


def test_a_table_names_its_columns_in_the_first_line(file):
    """What a spreadsheet saves: a mark, Windows ends, quoted line breaks, empty cells."""
    path = file(
        "csv",
        "\ufeffprompt,seed,style_name,references,diffusion\r\n"
        '"a fox, red",7,,a.png; b.png,"{""steps"": 9}"\r\n"two\r\nlines",,Watercolor,,\r\n',
    )
    rows = read_prompts(path)
    assert rows == [
        {"prompt": "a fox, red", "seed": "7", "references": ["a.png", "b.png"],
         "diffusion": {"steps": 9}},
        {"prompt": "two\nlines", "style_name": "Watercolor"},
    ]  # fmt: skip
    batch = checked_batch(prompts=rows)
    assert batch.rows[0].seed == 7
    assert batch.rows[1] == Row(style_name="Watercolor")


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("jsonl", f'"{CANARY}"\n{{"prompt": "{CANARY}"', "Line 2 is no JSON"),
        ("jsonl", f'"{CANARY}"\n["{CANARY}"]', "Line 2 is neither"),
        ("csv", f"{CANARY}\n{CANARY}\n", "first line .*: prompt, style_name"),
        ("csv", f"prompt,colour\n{CANARY},red\n", "first line .*: prompt, style_name"),
        ("csv", f"prompt\n{CANARY},{CANARY}\n", "Line 2 has more fields"),
        ("csv", f'prompt\n"{CANARY}', "Line 2 is no CSV"),
        ("csv", f"prompt,diffusion\n{CANARY},{CANARY}\n", "Line 2 diffusion is no JSON"),
    ],
)
def test_a_file_that_is_no_list_of_rows_is_refused_with_the_line(file, kind, text, said):
    """Never with what stands there."""
    with pytest.raises(RequestError, match=said) as refused:
        read_prompts(file(kind, text))
    error = refused.value
    assert CANARY not in f"{error!r} {error}"
    assert error.__suppress_context__ or error.__context__ is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"prompt": "x", "style_name": "Nonesuch"}', "prompt 2 style_name: .*Known styles"),
        (
            '{"prompt": "x", "references": ["/no/such.png"]}',
            "prompt 2 references: .*cannot be read",
        ),
        ('{"prompt": "x", "seed": "many"}', "prompt 2 seed: .*integer"),
    ],
)
def test_a_wrong_row_is_refused_before_any_service_is_started(file, home, monkeypatch, row, said):
    """By its number in the whole list, those on the command line counted."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(screen, "width", 200)
    arguments = ["batch", "a fox", "-f", str(file("jsonl", row)), "--provider", "sketch"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert re.search(said, " ".join(result.stderr.split()))
    assert not (home / "services.json").exists()
