"""What `imagemill doctor` says of one thing it looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from blocks.settings import Settings
from imagemill.errors import ImagemillError


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `ok`, a `note`, or `bad`, with what to do."""

    level: Literal["ok", "note", "bad"]
    what: str
    found: str
    remedy: str = ""


def guarded(what: str, check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    """Return what a check finds, or its error as a finding."""
    try:
        return check(settings)
    except ImagemillError as error:
        return Finding("bad", what, error.message, error.remedy)
