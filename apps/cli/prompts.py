"""Reads prompts from a file or from standard input: lines, or rows with settings of their own."""

import csv
import json
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from imagemill.errors import RequestError
from imagemill.rows import Row

COLUMNS = ("prompt", *Row.model_fields)
"""Of a CSV file. Several references are separated by `;`, diffusion settings are JSON."""


def read_prompts(file: Path | None) -> list[str | dict[str, Any]]:
    """Return the prompts of a file: rows of a `.jsonl` or `.csv`, else its lines.

    Of lines, those that are blank or notes ("# …") are left out. What the rows hold is checked with
    the batch.

    Raises:
        RequestError: it cannot be read as UTF-8 text, or a line of it is no row; says which.
    """
    if file is None:
        return []
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RequestError(
            f"The prompts file {file} cannot be read: {why}.",
            remedy="Give a UTF-8 text file with one prompt a line.",
        ) from None
    if file.suffix.lower() == ".jsonl":
        return list(_json_rows(text))
    if file.suffix.lower() == ".csv":
        return list(_csv_rows(text))
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("# ")]


def _json_rows(text: str) -> Iterator[str | dict[str, Any]]:
    """Yield a row, or words alone, for each line. JSON ends lines with a line feed only."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        row = _json(line, f"Line {number}")
        if not isinstance(row, str | dict):
            raise _refused(f"Line {number} is neither a string nor an object.")
        yield row


def _csv_rows(text: str) -> Iterator[dict[str, Any]]:
    lines = csv.DictReader(StringIO(text, newline=""), strict=True)
    try:
        unknown = [name for name in lines.fieldnames or () if name not in COLUMNS]
        if "prompt" not in (lines.fieldnames or ()) or unknown:
            # Unnamed: without a heading, the first line is a prompt.
            raise _refused(f"The first line of a CSV file names its columns: {', '.join(COLUMNS)}.")
        for row in lines:
            if None in row:
                raise _refused(f"Line {lines.line_num} has more fields than the first line.")
            yield _from_text(row, f"Line {lines.line_num}")
    except csv.Error:
        raise _refused(f"Line {lines.reader.line_num} is no CSV: look at its quotes.") from None


def _from_text(row: dict[str, str], where: str) -> dict[str, Any]:
    """Return a row whose fields are all text as the batch takes it; empty ones are left out."""
    given: dict[str, Any] = {name: value for name, value in row.items() if value}
    if "references" in given:
        given["references"] = [part.strip() for part in given["references"].split(";")]
    if "diffusion" in given:
        given["diffusion"] = _json(given["diffusion"], f"{where} diffusion")
    return given


def _json(text: str, where: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    try:
        return json.loads(text)
    except ValueError:
        raise _refused(f"{where} is no JSON.") from None


def _refused(message: str) -> RequestError:
    return RequestError(message, remedy="Nothing was sent; mend the prompts file.")
