"""A real SeaweedFS for tests: one per process, shared by whoever holds it, stopped by the last.

    @pytest.fixture(scope="session")
    def seaweed():
        with shared_seaweed() as server:
            yield server

Mark the tests `seaweed`. Safe under xdist: each worker has a server and ports of its own.
"""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apps.services.seaweed import SeaweedHandle, start_seaweed, stop
from imagemill.store.s3 import S3Settings

ACCESS_KEY_ID = "artifacts"
SECRET_ACCESS_KEY = "only-for-tests-0123456789"
BUCKET = "artifacts"

_running: list[tuple[SeaweedHandle, Path]] = []
_holders: list[object] = []


@contextmanager
def shared_seaweed() -> Iterator[SeaweedHandle]:
    """Yield this process's server, started by the first to ask."""
    holder = object()
    _holders.append(holder)
    try:
        if not _running:
            _running.append(_start())
        yield _running[0][0]
    finally:
        _holders.remove(holder)
        if _running and not _holders:
            server, data_dir = _running.pop()
            stop(server.pid)
            shutil.rmtree(data_dir.parent, ignore_errors=True)


def _start() -> tuple[SeaweedHandle, Path]:
    data_dir = Path(tempfile.mkdtemp(prefix="imagemill-test-seaweed-")) / "data"
    server = start_seaweed(
        data_dir,
        data_dir.with_name("weed.log"),
        access_key_id=ACCESS_KEY_ID,
        secret_access_key=SECRET_ACCESS_KEY,
        bucket=BUCKET,
    )
    return server, data_dir


def seaweed_settings(server: SeaweedHandle, **changes) -> S3Settings:
    """Return settings for the server, below a prefix nobody else writes to."""
    fields = {
        "bucket": server.bucket,
        "prefix": f"t/{secrets.token_hex(8)}",
        "endpoint_url": server.url,
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": SECRET_ACCESS_KEY,
    }
    return S3Settings(**{**fields, **changes})
