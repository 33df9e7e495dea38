"""Who supervises: one foreground `imagemill up` per home, recorded in `<home>/supervisor.json`."""

from pathlib import Path

import psutil

from apps.services.processes import Identity, find
from blocks.settings import read_json, write_json

FILE = "supervisor.json"


def find_supervisor(home: Path) -> Identity | None:
    """Return the living supervisor of a home, other than this process."""
    recorded = read_json(home / FILE)
    try:
        identity = Identity(int(recorded["pid"]), float(recorded["created_at_s"]))
    except (KeyError, TypeError, ValueError):
        return None
    if identity.pid == psutil.Process().pid or find(identity) is None:
        return None
    return identity


def record_supervisor(home: Path) -> None:
    """Record this process as the supervisor."""
    me = psutil.Process()
    write_json(home / FILE, {"pid": me.pid, "created_at_s": me.create_time()})


def forget_supervisor(home: Path) -> None:
    """Remove the record, if it is this process's."""
    if read_json(home / FILE).get("pid") == psutil.Process().pid:
        (home / FILE).unlink(missing_ok=True)
