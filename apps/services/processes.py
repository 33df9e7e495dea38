"""Starting, recognising and ending processes of this user, without ever hitting a stranger's."""

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import psutil

from imagemill.errors import ServiceError

Say = Callable[[str], None]
Progress = Callable[[str, str], None]

# Two readings of one process's start may differ by clock steps; a reused pid differs by far more.
CREATE_TIME_TOLERANCE_S = 2.0
MARKER = "IMAGEMILL_SERVICE"
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Identity:
    """A process for as long as it lives: its number and when it was created (Unix seconds)."""

    pid: int
    created_at_s: float


def spawn(command: Sequence[str], *, env: dict[str, str], cwd: Path, log_path: Path) -> Identity:
    """Start a process in a session of its own, so that Ctrl-C in a terminal does not reach it.

    Its output goes to `log_path`; the log of the start before is kept as `<name>.1`.

    Raises:
        ServiceError: The command, folder or log file cannot be used.
    """
    try:
        cwd.mkdir(parents=True, exist_ok=True)
        fresh_log(log_path)
        with log_path.open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - our own command line
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise ServiceError(
            f"Cannot start {command[0]}: {error}.",
            remedy="Check that imagemill's home is writable, or set IMAGEMILL_HOME.",
        ) from error
    # Kept so that a child that died is reaped (and seen as dead), not left as a zombie.
    _children[child.pid] = child
    found = identify(child.pid)
    return found or Identity(child.pid, time.time())


def fresh_log(path: Path) -> None:
    """Make room for a new log, keeping the one before as `<name>.1`.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_name(path.name + ".1"))


def identify(pid: int) -> Identity | None:
    """Return who runs under this number now, or None."""
    try:
        return Identity(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def find(identity: Identity) -> psutil.Process | None:
    """Return the living process, or None when it ended or its number was given to another."""
    child = _children.get(identity.pid)
    if child is not None and child.poll() is not None:
        return None
    try:
        process = psutil.Process(identity.pid)
        same = abs(process.create_time() - identity.created_at_s) < CREATE_TIME_TOLERANCE_S
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def listens(process: psutil.Process, port: int) -> bool:
    """Whether this process, or one of its children, is the one that listens on a port."""
    try:
        if _listens_itself(process, port):
            return True
        return any(_listens_itself(child, port) for child in process.children(recursive=True))
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # some platforms show no sockets at all: health must suffice
        return True


def _listens_itself(process: psutil.Process, port: int) -> bool:
    return any(listens_on(connection, port) for connection in process.net_connections(kind="tcp"))


class _Connection(Protocol):
    @property
    def status(self) -> str: ...
    @property
    def laddr(self) -> tuple[object, ...]: ...


def listens_on(connection: _Connection, port: int) -> bool:
    """Whether one of psutil's connections is a listener on a port."""
    return connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,)


def memory_bytes(process: psutil.Process) -> int:
    """Return the resident memory of a process and its children, 0 when it just ended."""
    total = 0
    with suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += one.memory_info().rss
    return total


def stop(identity: Identity, *, grace_s: float = 15.0) -> bool:
    """Ask a process to end, then end it and its children. Returns whether it was alive.

    A process that only shares the number with a recorded one is left alone.
    """
    process = find(identity)
    if process is None:
        return False
    family = [process]
    with suppress(psutil.Error):
        family += process.children(recursive=True)
    members = [found for one in family if (found := identify(one.pid)) is not None]
    with suppress(psutil.Error):
        process.terminate()
    _wait_gone([identity], timeout_s=grace_s)
    # Children it should have taken along are asked, then not asked.
    for send, timeout_s in ((psutil.Process.terminate, 2.0), (psutil.Process.kill, 5.0)):
        for survivor in _wait_gone(members, timeout_s=0):
            with suppress(psutil.Error):
                send(psutil.Process(survivor.pid))
        _wait_gone(members, timeout_s=timeout_s)
    if (child := _children.pop(identity.pid, None)) is not None:
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=1)
    return True


def _wait_gone(identities: list[Identity], *, timeout_s: float) -> list[Identity]:
    """Return those still alive after the time.

    psutil's own waiting counts a zombie as alive until init reaps it: two seconds in a container.
    """
    deadline = time.monotonic() + timeout_s
    while alive := [one for one in identities if find(one) is not None]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return alive


def marker(name: str, home: Path) -> dict[str, str]:
    """Return the variable by which a service of this home is recognised without any record."""
    return {MARKER: f"{name}@{home}"}


def strays(home: Path, name: str | None = None) -> list[Identity]:
    """Return this user's processes that carry the marker of this home (and service).

    They are left over when a starter was killed, or services.json was deleted.
    """
    own = {psutil.Process().pid, *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid in own or process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment = process.environ()
            who, _, where = environment.get(MARKER, "").partition("@")
            # SeaweedFS gets an environment of its own, in which HOME is its data folder.
            if environment.get("HOME") == str(home / "object_store"):
                who, where = "object_store", str(home)
            if where == str(home) and name in (None, who):
                found.append(Identity(process.pid, process.create_time()))
    return found


def answers(url: str, *, timeout_s: float = 2.0) -> int | None:
    """Return the HTTP status a loopback address answers with, or None when it does not.

    Uses the standard library: importing httpx alone costs 0.2 s, most of what a warm start may
    take. It also never asks a proxy.
    """
    from http.client import HTTPConnection, HTTPException

    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def log_tail(path: Path, *, lines: int = 15) -> str:
    """Return the last lines of a log without colours, indented; "" when there are none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 64_000))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    kept = [line.rstrip() for line in _COLOUR.sub("", text).splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in kept[-lines:])
