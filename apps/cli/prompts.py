"""Reads prompts from a file or from standard input."""

import sys
from pathlib import Path

from imagemill.errors import RequestError


def read_prompts(file: Path | None) -> list[str]:
    """Return the lines of a file that are neither blank nor notes ("# …").

    Raises:
        RequestError: it cannot be read as UTF-8 text.
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
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("# ")]
