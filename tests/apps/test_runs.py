"""How doors start runs: the environment is settled first, and progress reaches who listens."""

import os

import pytest

from apps.runs import QUIET, LocalRuns, _listening
from imagemill.workshop import Progress, on_progress


@pytest.fixture(autouse=True)
def _environment_is_put_back():
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_addresses_are_in_the_environment_before_prefect_is_imported():
    """Prefect reads them at import; a terminal stays quiet, the run's log on the server does not."""
    LocalRuns({"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:9/api"
    assert {name: os.environ[name] for name in QUIET} == QUIET


def test_a_listener_hears_progress_only_while_its_run_runs():
    """And is forgotten when the run ends badly."""
    heard = []

    def run():
        with _listening(heard.append):
            on_progress.get()(Progress(1, 1, 1, 0, 0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert len(heard) == 1
    assert on_progress.get() is None
