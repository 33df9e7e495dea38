"""Work pool, limits, block types and deployments on the Prefect server: made once, then skipped."""

import importlib.metadata
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

from apps.services.launching import Start
from apps.services.processes import answers, log_tail
from blocks.settings import read_json, write_json
from imagemill.errors import ServiceError

# What the objects on the server are made from; and what deployments (their parameter schemas) are.
SOURCES = {
    "objects": ("deployments", "blocks"),
    "deployments": ("deployments", "blocks", "imagemill", "tasks", "flows", "prefect.yaml"),
}
TIMEOUT_S = 180.0


def is_prepared(start: Start, *, key: str, level: str, url: str) -> bool:
    """Whether this server was prepared by just this code, and still knows the work pool.

    Args:
        start: Home and project folder.
        key: "own", or the address of somebody else's server.
        level: "objects" or "deployments".
        url: API address now, asked only when the server is imagemill's own.
    """
    stamped = read_json(_stamp_path(start, key)).get(key)
    if not isinstance(stamped, dict) or stamped.get(level) != digest(start.project_dir, level):
        return False
    return key != "own" or answers(f"{url}/work_pools/mill") == 200


def prepare(start: Start, environment: dict[str, str], *, key: str, level: str) -> None:
    """Create what is missing on the Prefect server, in a process of its own (about 4 s).

    Args:
        start: Home, project folder, who shows progress.
        environment: Which server: `Services.environment()`.
        key: As in `is_prepared`.
        level: "objects", or "deployments" to deploy prefect.yaml as well.

    Raises:
        ServiceError: With the last lines of what went wrong.
    """
    start.progress("preparing", level)
    log_path = start.log_path("preparation")
    command = [sys.executable, "-m", "deployments.bootstrap"]
    if level == "deployments":
        command += ["--deploy", str(start.project_dir / "prefect.yaml")]
    stamp = {one: digest(start.project_dir, one) for one in SOURCES}
    env = {**start.environment("preparation"), **environment}
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log:
        code = _run(start, command, env=env, log=log.fileno())
    if code != 0:
        raise ServiceError(
            f"The Prefect server could not be prepared ({log_path}):\n{log_tail(log_path)}\n",
            remedy="Fix what it says, then try again.",
        )
    done = stamp if level == "deployments" else {"objects": stamp["objects"]}
    path = _stamp_path(start, key)
    before = read_json(path)
    write_json(path, {**before, key: {**before.get(key, {}), **done}})


def _run(start: Start, command: list[str], *, env: dict[str, str], log: int) -> int:
    """Run to its end, or to a cancellation; returns the exit code (1 when ended by us)."""
    process = subprocess.Popen(  # noqa: S603 - our own command line
        command,
        env=env,
        cwd=start.project_dir,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    killer = threading.Timer(TIMEOUT_S, process.kill)
    killer.start()
    try:
        while True:
            try:
                return process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                if start.cancelled.is_set():
                    process.kill()
    finally:
        killer.cancel()


def _stamp_path(start: Start, key: str) -> Path:
    # Beside the database it speaks of: whoever deletes one deletes both.
    return (
        start.home / "prefect" / "prepared.json" if key == "own" else start.home / "prepared.json"
    )


def digest(project_dir: Path, level: str) -> str:
    """Return a digest over the files that decide what is created on the server."""
    total = sha256(f"{project_dir} {importlib.metadata.version('prefect')}".encode())
    for source in SOURCES[level]:
        root = project_dir / source
        files = sorted(root.rglob("*")) if root.is_dir() else [root]
        for file in files:
            if file.is_file() and file.suffix in {".py", ".json", ".yaml", ".toml"}:
                total.update(str(file.relative_to(project_dir)).encode())
                total.update(file.read_bytes())
    return total.hexdigest()
