"""A PostgreSQL cluster of the harness's own, which may be restarted as it likes."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import psycopg

from apps.services.ports import free_port


class NoPostgres(Exception):
    """PostgreSQL's programs are not installed, or will not start."""


def find_programs() -> Path:
    """Return the folder of initdb and pg_ctl: of the newest version that is installed."""
    candidates = [Path(found).parent] if (found := shutil.which("pg_ctl")) else []
    versions = Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
    candidates += sorted((p.parent for p in versions), key=lambda p: float(p.parent.name))
    if not candidates:
        raise NoPostgres("No initdb and pg_ctl in PATH or /usr/lib/postgresql/*/bin.")
    return candidates[-1]


class Cluster:
    """initdb in `folder`, a free port on loopback, trust; stopped and gone with the folder.

    PostgreSQL refuses to run as root, so root lends it to the user postgres, or else nobody.
    """

    def __init__(self, folder: Path) -> None:
        self._programs = find_programs()
        self._data = folder / "data"
        self._folder = folder
        self._user = _other_user() if os.geteuid() == 0 else None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}"

    def __enter__(self) -> "Cluster":
        self._folder.mkdir(parents=True)
        if self._user:
            shutil.chown(self._folder, self._user)
            for parent in self._folder.parents:  # it must be able to get there
                if parent.stat().st_uid == 0 and parent.name and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
        self._do("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._do("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop", check=False)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self._folder}"
        log = str(self._folder / "log")
        self._do("pg_ctl", "-D", str(self._data), "-l", log, "-o", options, "-w", "start")

    def stop(self, how: str) -> None:
        """Stop it: "fast" (connections are told) or "immediate" (as if it crashed)."""
        self._do("pg_ctl", "-D", str(self._data), "-m", how, "-w", "stop")

    def make(self, name: str) -> str:
        """Make an empty database; returns its address."""
        with psycopg.connect(f"{self.url}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"{self.url}/{name}"

    def _do(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(
            command, user=self._user, cwd=self._folder, check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        if check and done.returncode:
            raise NoPostgres(f"{program} failed: {done.stdout[-500:]}")


def _other_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
