"""A batch in words and figures."""

import json
from decimal import Decimal

import pytest

from imagemill import errors
from imagemill.credits import provider_label
from imagemill.report import (
    MANIFEST_VERSION,
    REMEDY_BY_CLASS,
    class_in_words,
    costs_in_words,
    counts_in_words,
    duration,
    latin,
    manifest,
    markdown_summary,
    money,
    table_rows,
)
from imagemill.request import BatchResult
from tests.builders import image_request
from tests.unit.test_contact_sheet import image_result

SECRET = "a very private prompt"


@pytest.fixture
def batch(tmp_path):
    """Eleven images of every kind, all of one private prompt."""
    kinds = ["made", "made", "reused", "failed", "failed", "failed", "ambiguous", "not_started",
             "failed", "not_started", "failed"]  # fmt: skip
    classes = {3: "blocked", 4: "blocked", 5: "blocked", 7: "budget", 8: "from_tomorrow", 9: None,
               10: "blocked"}  # fmt: skip
    results = tuple(
        image_result(tmp_path, index=at, status=kind, prompt=SECRET,
                     attempts=2 if at == 1 else 1,
                     **({"error_class": classes[at]} if at in classes else {}))
        for at, kind in enumerate(kinds)
    )  # fmt: skip
    return BatchResult.of("run-1", results, provider="gemini", model="m_1", style_name="A|B",
                          seconds=3_725.0)  # fmt: skip


def errors_of_the_tree(cls=errors.ImagemillError):
    for child in cls.__subclasses__():
        yield child
        yield from errors_of_the_tree(child)


def test_every_error_an_image_can_meet_has_a_remedy():
    """No class of the error tree that ends an image leaves its reader without a next step."""
    elsewhere = {"webhook", "service"}
    met = {error.error_class for error in errors_of_the_tree()} - elsewhere
    assert met <= set(REMEDY_BY_CLASS)


def test_the_summary_groups_failures_with_their_remedy(batch):
    """Failures are counted by class, named by number from 1, each class with what to do."""
    text = markdown_summary(batch)
    assert f"| blocked | 4 | 4–6, 11 | {REMEDY_BY_CLASS['blocked']} |" in text
    assert f"| ambiguous | 1 | 7 | {REMEDY_BY_CLASS['ambiguous']} |" in text
    assert r"| not started \(budget\) | 1 | 8 | The budget was reached" in text
    assert r"| not started | 1 | 10 | Nothing was sent and nothing was billed." in text
    assert r"| from tomorrow | 1 | 9 | Open the run's log" in text


def test_the_summary_tells_what_was_spent_saved_and_unsure(batch):
    """Money has its own table, and a broken answer is not hidden in the total."""
    text = markdown_summary(batch)
    assert "# 3 of 11 images · A\\|B" in text
    assert "| Spent in this run | $0.117 |" in text
    assert "| of it perhaps not billed (1 image) | $0.039 |" in text
    assert "| Saved by reuse (1 image) | $0.039 |" in text
    assert r"gemini · m\_1 · 1 h 2 min · 1 image needed more than one attempt" in text


def test_the_summary_shows_the_sheet_and_links_what_there_is(batch):
    """Addresses cannot break out of their link; what has no address has no link."""
    text = markdown_summary(batch, contact_sheet_url="https://s3/a b(1).png", gallery_url="/g.html")
    assert "![Contact sheet](https://s3/a%20b%281%29.png)" in text
    assert "[Open the gallery](/g.html)" in text
    assert "Manifest" not in text


def test_a_batch_without_trouble_has_no_failure_table(tmp_path):
    """All made: no failures, no savings, no doubt."""
    text = markdown_summary(BatchResult.of("r", (image_result(tmp_path),)))
    assert "Not made" not in text
    assert "Saved" not in text
    assert "perhaps" not in text


def test_many_numbers_are_cut_short(tmp_path):
    """A thousand failures do not make a page of numbers."""
    results = tuple(image_result(tmp_path, index=at * 2, status="failed") for at in range(40))
    assert "23, … |" in markdown_summary(BatchResult.of("r", results))


def test_what_people_see_in_prefect_holds_no_prompt(batch):
    """Summary and table name images by number only."""
    seen = markdown_summary(batch, gallery_url="https://g") + json.dumps(table_rows(batch))
    assert SECRET not in seen
    assert "private" not in seen


def test_the_table_has_a_row_for_every_image(batch):
    """Rows are flat, JSON-able, in input order from 1, and say what reuse saved."""
    rows = table_rows(batch)
    assert [row["image"] for row in rows] == list(range(1, 12))
    assert rows[0] == {"image": 1, "status": "made", "link": "[open](https://images.example/0.png)",
                       "cost": "$0.039", "seconds": 4.2, "attempts": 1, "error": ""}  # fmt: skip
    assert rows[2]["cost"] == "saved $0.039"
    assert rows[7]["status"] == "not started"
    assert rows[7]["error"] == "not started (budget)"
    assert json.loads(json.dumps(rows)) == rows


def test_the_manifest_tells_how_an_image_came_to_be(tmp_path):
    """Request, key, digest, provider, model, seed, cost and time stand together; no local path."""
    request = image_request(seed=42)
    results = (image_result(tmp_path, index=0, key=request.key),
               image_result(tmp_path, index=1, status="failed"))  # fmt: skip
    said = manifest(BatchResult.of("run-1", results, provider="sketch"), [request])
    first, second = said["images"]
    assert said["version"] == MANIFEST_VERSION
    assert first["request"] == request.model_dump(mode="json")
    assert (first["provider"], first["model"]) == ("sketch", "sketch-1")
    assert (first["key"], first["sha256"]) == (request.key, "0" * 64)
    assert (first["seed"], first["cost_usd"], first["seconds"]) == (7, "0.039", 4.2)
    assert second["request"] is None
    assert str(tmp_path) not in json.dumps(said)


@pytest.mark.parametrize(
    ("amount", "words"),
    [("0", "$0.00"), ("0.039", "$0.039"), ("0.5", "$0.50"), ("0.00004", "<$0.0001"),
     ("0.03874", "$0.0387"), ("19.344", "$19.34"), ("1234.5", "$1,234.50")],
)  # fmt: skip
def test_money_is_exact_where_it_is_small(amount, words):
    """Cents from a dollar on, fractions of a cent below."""
    assert money(Decimal(amount)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.97, "1 min 0 s"), (102.4, "1 min 42 s"), (7_500, "2 h 5 min")],
)
def test_durations_read_like_speech(seconds, words):
    """Seconds, then minutes, then hours."""
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [("Ångström – “café”", 'Angstrom - "cafe"'), ("fox 🦊 ❄", "fox"), ("여우 fox", ""),
     ("a\tb\nc", "a b c")],
)  # fmt: skip
def test_letters_the_sheet_lacks_are_not_faked(text, words):
    """Accents go, ornaments go, and a text in another script goes as a whole."""
    assert latin(text) == words


def test_a_sketch_is_called_a_drawing():
    """Nobody is led to take procedural drawing for a model's work."""
    assert provider_label("sketch", "sketch-1") == "sketch · procedural drawing"
    assert provider_label("gemini", "m") == "gemini · m"
    assert provider_label("") == ""


def test_counts_and_costs_in_a_line(batch):
    """The heading of the sheet says how many, what of them, and for how much."""
    assert counts_in_words(batch.results) == (
        "3 of 11 images  ·  1 reused  ·  5 failed  ·  1 ambiguous  ·  2 not started"
    )
    assert costs_in_words(batch.results) == "$0.117 spent  ·  $0.039 saved"
    assert costs_in_words(batch.results, Decimal("0.12")).startswith("$0.12 spent")
    assert class_in_words(batch.results[0]) == ""
