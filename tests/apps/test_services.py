"""The local services: found or started once, watched, stopped without a trace."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from apps.services import lifecycle
from apps.services.addresses import find_external
from apps.services.ensure import ensure, ensure_services, services_lock
from apps.services.launching import Died, Recipe, Start, launch, launch_on_port
from apps.services.lifecycle import down, status
from apps.services.object_store import start_object_store
from apps.services.ports import PortPlan, choose_port, remember_port
from apps.services.prefect_server import MEASURED, NOT_INHERITED
from apps.services.processes import Identity, answers, find, listens, spawn, stop, strays
from apps.services.records import (
    STOP_ORDER,
    ServiceRecord,
    alive,
    forget_record,
    load_records,
    save_record,
)
from apps.services.settings import PrefectShell, inherited_environment, loopback_without_proxy
from apps.services.supervisor import RESTARTS_MAX, Watch, up, up_detached
from blocks.settings import Settings
from imagemill.errors import ServiceError

PROJECT = Path(__file__).resolve().parents[2]
FREE = PortPlan(any_port=True)
LIVE = [
    pytest.mark.prefect,
    pytest.mark.seaweed,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("services"),
]


def eventually(told: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Poll until it is so; fail at the deadline."""
    deadline = time.monotonic() + within_s
    while not told():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.05)


@contextmanager
def taken_port() -> Iterator[int]:
    """A port on which this very process listens and never answers."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
def plain_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No developer's Prefect or proxy reaches these tests."""
    for name in (*NOT_INHERITED, "PREFECT_HOME", "IMAGEMILL_GATEWAY_URL", "IMAGEMILL_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "no-prefect"))


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def start(tmp_path: Path, said: list[str]) -> Iterator[Start]:
    start = Start(Settings(home=tmp_path / "home"), said.append, ports=FREE, deadline_s=20)
    yield start
    down(start.settings, say=said.append)


def http_server(start: Start, port: int) -> Recipe:
    """A stand-in for a service: answers 200 on every path that exists."""
    return Recipe(
        command=[sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        env=start.environment("gateway"),
        cwd=start.home / "served",
        url=f"http://127.0.0.1:{port}",
        health_url=f"http://127.0.0.1:{port}/",
    )


def python(start: Start, code: str) -> Recipe:
    """A service that runs this and never counts as up."""
    command = [sys.executable, "-c", code]
    return Recipe(command, start.environment("gateway"), start.home, ready=lambda: False)


# --- one process: records, ports, health -------------------------------------------------------


def test_a_started_service_is_recorded_found_and_stopped(start: Start) -> None:
    """What was started is found by its record, and nothing of it is left after a stop."""
    record = launch_on_port(start, "gateway", lambda port: http_server(start, port))

    assert load_records(start.home) == {"gateway": record}
    assert alive(record)
    assert record.log_path.stat().st_mode
    assert stop(record.identity)
    assert not alive(record)
    assert find(record.identity) is None
    assert not stop(record.identity)


def test_a_reused_process_id_is_neither_believed_nor_killed(start: Start) -> None:
    """A record whose process id now belongs to somebody else is stale, and that one lives on."""
    stranger = spawn(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        env=inherited_environment(),
        cwd=start.home,
        log_path=start.log_path("stranger"),
    )
    before = Identity(stranger.pid, stranger.created_at_s - 3600)
    save_record(start.home, ServiceRecord("worker", "", before, start.log_path("worker")))

    assert not alive(load_records(start.home)["worker"])
    assert [row.state for row in status(start.settings) if row.name == "worker"] == ["stale"]
    assert down(start.settings, say=start.say) == []
    assert find(stranger) is not None
    stop(stranger)


def test_a_strangers_server_on_the_recorded_port_is_not_ours(start: Start) -> None:
    """However well another process answers on the recorded port, it is not taken for the service."""
    other = launch_on_port(start, "gateway", lambda port: http_server(start, port))
    idle = launch(
        start,
        "worker",
        replace(python(start, "import time; time.sleep(60)"), ready=lambda: True),
    )
    pretended = replace(other, identity=idle.identity)

    assert answers(other.health_url) == 200
    assert not alive(pretended)


def test_a_child_may_do_the_listening(start: Start) -> None:
    """A service that listens through a child of its own counts as listening."""
    code = (
        "import subprocess, sys; "
        "subprocess.run([sys.executable, '-m', 'http.server', '{}', '--bind', '127.0.0.1'])"
    )
    record = launch_on_port(
        start,
        "gateway",
        lambda port: replace(
            http_server(start, port), command=[sys.executable, "-c", code.format(port)]
        ),
    )
    process = find(record.identity)
    assert process is not None
    assert listens(process, record.port or 0)
    assert len(strays(start.home)) == 2
    stop(record.identity)
    assert strays(start.home) == []


def test_a_service_that_dies_at_start_shows_its_last_lines(start: Start) -> None:
    """Who cannot start says why: the end of its log, without colours, and where the rest is."""
    code = "print('\\x1b[31mdatabase is gone\\x1b[0m'); raise SystemExit(3)"
    with pytest.raises(Died, match="database is gone") as caught:
        launch(start, "gateway", python(start, code))

    assert "\x1b" not in str(caught.value)
    assert str(start.log_path("gateway")) in str(caught.value)
    assert caught.value.remedy
    assert load_records(start.home) == {}


def test_a_service_that_never_answers_is_given_up_and_ended(start: Start) -> None:
    """After the deadline the start fails, its process is ended, and no record stays."""
    recipe = python(start, "import time; time.sleep(60)")
    seen: list[tuple[str, str]] = []
    quick = replace(start, deadline_s=0.3, progress=lambda *step: seen.append(step))
    with pytest.raises(ServiceError, match="did not answer within"):
        launch(quick, "gateway", recipe)

    assert seen[0] == ("gateway", "0 s")
    assert strays(start.home) == []
    assert load_records(start.home) == {}


def test_a_cancelled_start_ends_what_it_began(start: Start) -> None:
    """Ctrl-C while a service starts leaves no process behind."""
    recipe = python(start, "import time; time.sleep(60)")
    start.cancelled.set()
    with pytest.raises(ServiceError, match="interrupted"):
        launch(start, "gateway", recipe)
    assert strays(start.home) == []


def test_a_program_that_is_not_there_is_a_service_error(start: Start) -> None:
    """No traceback of the operating system for a command that cannot be started."""
    recipe = replace(python(start, ""), command=["/nowhere/at/all"])
    with pytest.raises(ServiceError, match="Cannot start"):
        launch(start, "gateway", recipe)


def test_the_log_before_is_kept(start: Start) -> None:
    """A restart does not destroy the log that says why the last one ended."""
    for word in ("first", "second"):
        with pytest.raises(Died):
            launch(start, "gateway", python(start, f"print('{word}')"))
    kept = start.log_path("gateway").with_name("gateway.log.1")
    assert kept.read_text().strip() == "first"


def test_a_taken_port_is_refused_with_its_holder_and_the_remedy(start: Start) -> None:
    """An explicit `up` never moves by itself: it names the port, the process and the option."""
    with taken_port() as port, pytest.raises(ServiceError) as caught:
        choose_port("prefect", PortPlan(prefect=port), home=start.home, say=start.say)
    assert f"Port {port}" in caught.value.message
    assert f"process {os.getpid()}" in caught.value.message
    assert "--prefect-port" in caught.value.remedy
    assert "--any-port" in caught.value.remedy


def test_an_implicit_start_takes_a_free_port_and_says_so(start: Start, said: list[str]) -> None:
    """A batch command is not stopped by somebody's leftover on the usual port."""
    with taken_port() as port:
        plan = PortPlan(prefect=port, any_port=True)
        chosen = choose_port("prefect", plan, home=start.home, say=start.say)
    assert chosen != port
    assert f"port {port} is taken by process {os.getpid()}" in said[0]


def test_a_service_comes_back_on_the_port_it_had(start: Start) -> None:
    """Links made before a restart stay good: the port is remembered."""
    first = launch_on_port(start, "gateway", lambda port: http_server(start, port))
    stop(first.identity)
    again = launch_on_port(start, "gateway", lambda port: http_server(start, port))
    assert again.url == first.url


def test_who_loses_the_race_for_a_free_port_chooses_again(start: Start) -> None:
    """A port taken between the look and the start costs another try, not the command."""
    rival = socket.socket()
    rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tried: list[int] = []

    def recipe(chosen: int) -> Recipe:
        if not tried:
            rival.bind(("127.0.0.1", chosen))
            rival.listen()
        tried.append(chosen)
        return http_server(start, chosen)

    with closing(rival):
        record = launch_on_port(start, "gateway", recipe)
        assert alive(record)
    assert len(set(tried)) == 2


@pytest.mark.seaweed
def test_an_object_store_that_lacks_its_second_port_moves_or_says_how_to(
    start: Start, said: list[str]
) -> None:
    """SeaweedFS needs the port 10000 higher too: implicit starts move, explicit ones refuse."""
    with closing(socket.socket()) as twin:
        eventually(lambda: _bind(twin, random.randrange(20_000, 22_000)))
        twin.listen()
        port = twin.getsockname()[1] - 10_000
        asked = replace(start, ports=PortPlan(object_store=port))
        with pytest.raises(ServiceError) as caught:
            start_object_store(asked)
        record = start_object_store(
            replace(start, ports=PortPlan(object_store=port, any_port=True))
        )
    assert "--s3-port" in caught.value.remedy
    assert record.port not in (None, port)
    assert alive(record)
    assert any("Using another" in line for line in said)


def _bind(one: socket.socket, port: int) -> bool:
    with suppress(OSError):
        one.bind(("127.0.0.1", port))
        return True
    return False


def test_leftovers_without_a_record_are_ended_before_a_start(start: Start) -> None:
    """When services.json was deleted, the old process goes before a second one starts."""
    first = launch_on_port(start, "gateway", lambda port: http_server(start, port))
    forget_record(start.home, "gateway")
    second = launch_on_port(start, "gateway", lambda port: http_server(start, port))
    assert find(first.identity) is None
    assert second.url == first.url
    assert [one.pid for one in strays(start.home)] == [second.identity.pid]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"gateway": 1}', '{"x": {"name": "x"}}'])
def test_an_unreadable_record_is_as_good_as_none(start: Start, content: str) -> None:
    """A half-written or foreign services.json never stops a command."""
    start.home.mkdir()
    (start.home / "services.json").write_text(content)
    assert load_records(start.home) == {}
    assert {row.state for row in status(start.settings)} == {"stopped"}


def test_records_survive_the_file(start: Start) -> None:
    """A record reads back as it was written, extras beside the rest for its readers."""
    record = ServiceRecord(
        "object_store",
        "http://127.0.0.1:1",
        Identity(1, 2.5),
        start.log_path("x"),
        extras={"bucket": "b", "access_key_id": "k"},
    )
    save_record(start.home, record)
    assert load_records(start.home) == {"object_store": record}
    assert start.settings.services["object_store"]["bucket"] == "b"
    assert (start.home / "services.json").stat().st_mode & 0o077 == 0


def test_stop_order_ends_users_before_what_they_use() -> None:
    """The worker goes first, the stores last."""
    assert STOP_ORDER.index("worker") < STOP_ORDER.index("gateway") < STOP_ORDER.index("prefect")


def test_a_home_that_cannot_be_made_is_a_clear_error(said: list[str]) -> None:
    """A home that cannot be written names itself and the variable that moves it."""
    settings = Settings(home=Path("/proc/imagemill"))
    with pytest.raises(ServiceError, match="cannot be written") as caught:
        ensure_services(settings, say=said.append, want={"gateway"})
    assert "IMAGEMILL_HOME" in caught.value.remedy
    assert down(settings, say=said.append) == []


def test_who_finds_the_lock_held_says_so_and_can_be_cancelled(
    start: Start, said: list[str]
) -> None:
    """Waiting for another command is announced, and Ctrl-C ends it."""
    with services_lock(start):
        waiter = replace(start, cancelled=threading.Event())
        waiter.cancelled.set()
        with pytest.raises(ServiceError, match="busy"), services_lock(waiter):
            pass
    assert any("waiting" in line for line in said)


# --- whose services ----------------------------------------------------------------------------


def test_a_prefect_server_from_the_environment_is_used(
    start: Start, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PREFECT_API_URL that answers is used and said; imagemill starts none of its own."""
    (start.home / "served" / "health").mkdir(parents=True)
    theirs = launch_on_port(start, "gateway", lambda port: http_server(start, port))
    monkeypatch.setenv("PREFECT_API_URL", f"{theirs.url}/")
    forget_record(start.home, "gateway")

    services = ensure(start, want={"prefect"}, preparation="none")

    assert services.prefect_url == theirs.url
    assert not services.own_prefect
    assert services.started == ()
    assert services.environment()["PREFECT_API_URL"] == theirs.url
    assert "PREFECT_HOME" not in services.environment()
    assert any("PREFECT_API_URL" in line for line in said)
    assert status(start.settings)[0].state == "external"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "http://imagemill.invalid/api"])
def test_a_configured_prefect_server_that_is_away_is_a_clear_error(
    start: Start, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Nobody's server is silently replaced by a local one."""
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(ServiceError, match="does not answer") as caught:
        ensure(start, want={"prefect"})
    assert "PREFECT_API_URL" in caught.value.message
    assert caught.value.remedy


def test_an_own_address_in_the_environment_is_still_ours(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that exported our server's address does not turn it into somebody else's."""
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    remember_port("prefect", 9, home=start.home)
    assert find_external(start).prefect_url == ""


@pytest.mark.parametrize("place", ["profile", "prefect.toml", "pyproject.toml"])
def test_a_prefect_server_in_a_profile_or_project_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The places Prefect itself reads are read, without importing it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    profile = 'active = "work"\n[profiles.work]\nPREFECT_API_URL = "http://there/api/"\n'
    file, text = {
        "profile": ("profiles.toml", profile),
        "prefect.toml": ("prefect.toml", '[api]\nurl = "http://there/api"\n'),
        "pyproject.toml": ("pyproject.toml", '[tool.prefect.api]\nurl = "http://there/api"\n'),
    }[place]
    (tmp_path / file).write_text(text)

    url, source = PrefectShell().configured_url()

    assert url == "http://there/api"
    assert source


def test_an_object_store_of_ones_own_is_not_started(tmp_path: Path, said: list[str]) -> None:
    """With a bucket or endpoint configured, the embedded store stays off."""
    settings = Settings(home=tmp_path, s3_bucket="mine", s3_endpoint_url="http://store")
    services = ensure_services(settings, say=said.append, want={"object_store"})
    assert services.object_store_url == "http://store"
    assert services.bucket == "mine"
    assert services.started == ()
    assert [row.state for row in status(settings)][1] == "external"


def test_services_inherit_a_home_and_a_way_past_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An empty HOME is filled in for the services, and loopback never goes through a proxy."""
    monkeypatch.setenv("HOME", "")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "example.com")
    environment = inherited_environment()
    assert Path(environment["HOME"]).is_absolute()
    assert environment["NO_PROXY"] == "example.com,127.0.0.1,localhost"
    assert loopback_without_proxy({}) == {}


# --- the whole set, for real -------------------------------------------------------------------

CALLER = """
import json, sys, time
began = time.perf_counter()
from blocks.settings import Settings
from apps.services.ensure import ensure_services
said = []
services = ensure_services(Settings(), say=said.append)
print(json.dumps({
    "said": said, "started": services.started, "environment": services.environment(),
    "store": services.object_store_url, "s": time.perf_counter() - began,
    "heavy": [m for m in ("prefect", "httpx", "boto3") if m in sys.modules],
}))
"""


def call_in_a_bare_shell(home: Path) -> "subprocess.Popen[str]":
    """An imagemill command with HOME empty, in a working folder nobody can write."""
    kept = {k: v for k, v in os.environ.items() if k not in {"HOME", "PREFECT_HOME"}}
    env = {**kept, "HOME": "", "IMAGEMILL_HOME": str(home), "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        [sys.executable, "-c", CALLER],
        cwd="/proc",
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass(frozen=True)
class Running:
    settings: Settings
    answers: list[dict[str, object]]
    errors: list[str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The whole set, started by two commands at once in a fresh home."""
    home = tmp_path_factory.mktemp("services") / "deep" / "home"
    settings = Settings(home=home)
    callers = [call_in_a_bare_shell(home) for _ in range(2)]
    try:
        spoken = [caller.communicate(timeout=280) for caller in callers]
        lines = [out.strip().splitlines()[-1:] for out, _ in spoken]
        yield Running(
            settings,
            [json.loads(line[0]) if line else {} for line in lines],
            [error for _, error in spoken],
        )
    finally:
        down(settings, say=print)
        assert strays(home) == []


class TestWholeSet:
    """With a real Prefect server, object store and gateway."""

    pytestmark = LIVE

    def test_two_commands_at_once_start_one_set(self, running: Running) -> None:
        """Both get the same services; each service was started by exactly one of them."""
        assert running.errors == ["", ""]
        first, second = running.answers
        assert first["environment"] == second["environment"]
        started = [*first["started"], *second["started"]]  # type: ignore[misc]
        assert sorted(started) == ["gateway", "object_store", "prefect"]
        by_marker = {one.pid for one in strays(running.settings.home)}
        assert by_marker == {r.identity.pid for r in load_records(running.settings.home).values()}

    def test_the_answers_are_the_services(self, running: Running) -> None:
        """What the environment names answers, as the recorded processes."""
        environment = running.answers[0]["environment"]
        assert isinstance(environment, dict)
        assert answers(f"{environment['PREFECT_API_URL']}/health") == 200
        assert answers(f"{environment['IMAGEMILL_GATEWAY_URL']}/healthz") == 200
        assert answers(f"{running.answers[0]['store']}/") == 403
        assert environment["PREFECT_HOME"] == str(running.settings.home / "prefect")
        assert environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"

    def test_a_warm_call_is_quick_silent_and_light(self, running: Running) -> None:
        """When all runs, a command learns it without importing Prefect, httpx or boto3."""
        caller = call_in_a_bare_shell(running.settings.home)
        out, error = caller.communicate(timeout=60)
        told = json.loads(out)
        assert error == ""
        assert told["said"] == []
        assert told["heavy"] == []
        began = time.perf_counter()
        ensure_services(running.settings, say=print)
        assert time.perf_counter() - began < 0.3

    def test_the_server_has_the_measured_settings(self, running: Running) -> None:
        """Recorder batching, durable leases and quick hand-over reach the server's process."""
        process = psutil.Process(load_records(running.settings.home)["prefect"].identity.pid)
        environment = process.environ()
        port = load_records(running.settings.home)["prefect"].port
        assert MEASURED.items() <= environment.items()
        assert environment["PREFECT_SERVER_API_PORT"] == str(port)

    def test_a_killed_service_is_started_again_where_it_was(self, running: Running) -> None:
        """After kill -9 the next command starts that one service, at the same address."""
        before = load_records(running.settings.home)
        os.kill(before["gateway"].identity.pid, signal.SIGKILL)
        eventually(lambda: find(before["gateway"].identity) is None)
        rows = {row.name: row for row in status(running.settings)}
        assert rows["gateway"].state == "stale"
        assert rows["prefect"].memory_bytes > 50_000_000

        services = ensure_services(running.settings, say=print)

        after = load_records(running.settings.home)
        assert services.started == ("gateway",)
        assert after["gateway"].url == before["gateway"].url
        assert after["prefect"].identity == before["prefect"].identity

    def test_a_service_that_hangs_is_replaced(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that lives but does not answer gets some time, then a successor, and is ended."""
        monkeypatch.setattr("apps.services.ensure.MUTE_S", 0.5)
        before = load_records(running.settings.home)["gateway"]
        old = replace(before, started_at=before.started_at.replace(year=2020))
        save_record(running.settings.home, old)
        os.kill(old.identity.pid, signal.SIGSTOP)
        said: list[str] = []
        services = ensure_services(running.settings, say=said.append)
        assert services.started == ("gateway",)
        assert find(old.identity) is None
        assert any("does not answer; restarting" in line for line in said)

    def test_up_keeps_all_running_and_stops_all(
        self, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`up` restarts what dies, refuses a second `up`, and leaves nothing after Ctrl-C."""
        url = load_records(running.settings.home)["prefect"].url
        monkeypatch.setenv("PREFECT_API_URL", url)
        settings, said = Settings(home=tmp_path / "home"), []  # type: ignore[var-annotated]

        def ready(_services: object) -> None:
            victim = load_records(settings.home)["gateway"].identity
            os.kill(victim.pid, signal.SIGKILL)

            def end_when_back() -> None:
                try:
                    eventually(
                        lambda: (
                            (now := load_records(settings.home).get("gateway")) is not None
                            and now.identity != victim
                            and alive(now)
                        )
                    )
                finally:
                    os.kill(os.getpid(), signal.SIGINT)

            threading.Thread(target=end_when_back).start()

        up(settings, say=said.append, ports=FREE, preparation="objects", on_ready=ready)

        assert any("gateway ended; starting it again" in line for line in said)
        assert strays(settings.home) == []
        assert load_records(settings.home) == {}
        assert not (settings.home / "supervisor.json").exists()
        assert answers(f"{url}/health") == 200  # somebody else's, so it stays

    def test_down_ends_a_foreground_up_and_all_its_services(
        self, running: Running, tmp_path: Path
    ) -> None:
        """`down` from another terminal: the supervisor leaves too, with exit code 0."""
        settings = Settings(home=tmp_path / "home")
        url = load_records(running.settings.home)["prefect"].url
        code = (
            "from blocks.settings import Settings; from apps.services.supervisor import *\n"
            "up(Settings(), say=print, ports=PortPlan(any_port=True), preparation='objects')"
        )
        env = {"IMAGEMILL_HOME": str(settings.home), "PREFECT_API_URL": url}
        terminal = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **env})
        eventually(lambda: "worker" in load_records(settings.home), within_s=120)
        with pytest.raises(ServiceError, match="runs already"):
            up(settings, say=print, ports=FREE)

        stopped = down(settings, say=print)

        assert terminal.wait(timeout=10) == 0
        assert set(stopped) <= {"worker", "gateway", "object_store"}
        assert "gateway" in stopped
        assert strays(settings.home) == []

    def test_up_detached_starts_the_worker_and_deploys(
        self, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`up --detach` returns with everything running; a second one does nothing."""
        monkeypatch.setenv("PREFECT_API_URL", load_records(running.settings.home)["prefect"].url)
        settings = Settings(home=tmp_path / "home")
        try:
            first = up_detached(settings, say=print, ports=FREE, preparation="objects")
            assert set(first.started) == {"object_store", "gateway", "worker"}
            states = {row.name: row.state for row in status(settings)}
            assert states["worker"] == "running"
            assert up_detached(settings, say=print, preparation="objects").started == ()
        finally:
            down(settings, say=print)


# --- the watch, with stand-ins -----------------------------------------------------------------


def test_a_service_that_keeps_dying_ends_the_whole_with_its_last_lines(
    start: Start, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restarts are not endless: the fifth death in ten minutes stops everything and says why."""
    monkeypatch.setattr("apps.services.supervisor.BACKOFF_S", (0.0,))
    monkeypatch.setattr("apps.services.supervisor.LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("apps.services.supervisor.ensure", lambda *_a, **_k: None)
    start.log_path("prefect").parent.mkdir(parents=True)
    start.log_path("prefect").write_text("disk is full\n")
    dead = ServiceRecord("prefect", "", Identity(1, 0.0), start.log_path("prefect"))
    save_record(start.home, dead)
    with pytest.raises(ServiceError, match=r"(?s)ended 5 times.*disk is full"):
        Watch(start, "none").until_cancelled()
    assert sum("Prefect server ended" in line for line in said) == RESTARTS_MAX


def test_what_would_not_end_is_named(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """`down` never claims success over a process that stayed."""
    monkeypatch.setattr(lifecycle, "strays", lambda _home: [Identity(2**22 + 1, 0.0)])
    with pytest.raises(ServiceError, match="would not end"):
        lifecycle.stop_all(start)
    monkeypatch.undo()
