"""`imagemill doctor` looks at everything a batch needs, changes nothing, and says what to do."""

import pytest
from typer.testing import CliRunner

from apps import checkup as checkup_module
from apps.checkup import checkup
from apps.cli import app
from blocks.settings import Settings
from blocks.store import forget_stores
from tests.unit.small_workshop import unwritable


@pytest.fixture(autouse=True)
def _fresh_stores(home):
    forget_stores()
    yield
    forget_stores()


def found(what: str, **settings):
    return next(finding for finding in checkup(Settings(**settings)) if finding.what == what)


def test_a_fresh_machine_is_well_but_for_notes(home):
    """No key, no services: notes with their remedy, nothing bad."""
    findings = checkup(Settings())
    assert {finding.level for finding in findings} <= {"ok", "note"}
    assert all(finding.remedy for finding in findings if finding.level == "note")
    assert "GOOGLE_API_KEY" in found("gemini key").remedy
    assert found("object store").found == "not started"
    assert found("ledger").found == "sqlite, no runs yet"


def test_a_key_is_seen_and_not_shown(home, monkeypatch):
    """Whether it is set, not what it is."""
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-canary")
    assert found("gemini key").level == "ok"
    assert "AIza" not in repr(checkup(Settings()))


def test_a_home_that_cannot_be_written_is_bad(home):
    """With the variable to set."""
    with unwritable(home):
        assert (found("home").level, found("ledger").level) == ("bad", "bad")
        assert "IMAGEMILL_HOME" in found("home").remedy


def test_little_disk_is_noted(home, monkeypatch):
    """Before a batch fills it."""
    monkeypatch.setattr(checkup_module, "LOW_DISK_BYTES", 10**18)
    assert found("home").level == "note"


def test_an_object_store_that_is_away_is_bad(home, monkeypatch):
    """The variables are there, the server is not."""
    monkeypatch.setenv("IMAGEMILL_S3_BUCKET", "b")
    monkeypatch.setenv("IMAGEMILL_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("IMAGEMILL_S3_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("IMAGEMILL_S3_SECRET_ACCESS_KEY", "s")
    finding = found("object store")
    assert finding.level == "bad"
    assert finding.remedy


def test_a_database_address_that_is_none_is_bad_and_the_command_says_so(home, monkeypatch):
    """Exit code 1, so that scripts notice."""
    monkeypatch.setenv("IMAGEMILL_DATABASE_URL", "mysql://x/y")
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "SQLite or PostgreSQL" in " ".join(result.stderr.split())


def test_a_healthy_machine_exits_0(home):
    """Notes alone are no failure."""
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 0
