"""Fixtures for everybody, and the guard that no test leaves this machine."""

import os
import socket
import uuid

import pytest

# Prefect and our settings read the environment: tests start from a known one.
for name in [
    n for n in os.environ if n.startswith(("IMAGEMILL_", "GOOGLE_", "GEMINI_", "PREFECT_"))
]:
    if name != "IMAGEMILL_TEST_POSTGRES_URL":
        del os.environ[name]
# The address of a real ComfyUI is for the tests that ask for it, not for whoever reads settings.
REAL_COMFYUI_URL = os.environ.pop("COMFYUI_URL", "")
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW"] = "ignore"

POSTGRES_URL = os.environ.get(
    "IMAGEMILL_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres"
)


def skip_or_fail(reason: str) -> None:
    """A missing service is a visible skip at home and a failure in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (CI must have it)")
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch):
    """No test may reach past this machine."""
    real = socket.socket.connect

    def connect(self, address):
        host = address[0] if isinstance(address, tuple) else ""
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in (
            "127.0.0.1", "::1", "localhost", "0.0.0.0",
        ):  # fmt: skip
            raise AssertionError(f"A test tried to reach {host}")
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(scope="session")
def real_comfyui_url():
    """Address of a real ComfyUI, for `COMFYUI_URL=… pytest -m real_comfy`."""
    if not REAL_COMFYUI_URL:
        pytest.skip("COMFYUI_URL names no ComfyUI")
    return REAL_COMFYUI_URL


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A fresh imagemill home, named in the environment."""
    folder = tmp_path / "home"
    monkeypatch.setenv("IMAGEMILL_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def postgres_server():
    """Address of a running PostgreSQL."""
    import psycopg

    try:
        psycopg.connect(POSTGRES_URL, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        skip_or_fail(f"PostgreSQL is not running: {type(error).__name__}")
    return POSTGRES_URL


@pytest.fixture(scope="session")
def postgres_template(postgres_server):
    """A migrated database to copy from: copying is quicker than migrating for every test."""
    import psycopg

    from imagemill.ledger import open_ledger

    name = f"imagemill_template_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    base = postgres_server.rsplit("/", 1)[0]
    open_ledger(f"{base}/{name}").close()
    yield name
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger_url(request, tmp_path):
    """Address of an empty ledger database, on each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    import psycopg

    server = request.getfixturevalue("postgres_server")
    template = request.getfixturevalue("postgres_template")
    name = f"imagemill_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield f"{server.rsplit('/', 1)[0]}/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
