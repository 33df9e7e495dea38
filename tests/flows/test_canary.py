"""The words of a prompt appear in no log, at any level, in no name, event or exception (T6)."""

import asyncio
import logging
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from uuid import UUID

import pytest

from imagemill.errors import ImagemillError

PROJECT = Path(__file__).resolve().parents[2]
CANARY = "xyzzycanary"
"""One word, so that a piece of a prompt is found as well as the whole."""

PROMPT = f"a {CANARY} on a wire, number"
FAULTS = [
    {"kind": "prompt_blocked", "prompt": f"{PROMPT} 1"},
    {"kind": "bad_request", "prompt": f"{PROMPT} 2"},
    {"kind": "html", "prompt": f"{PROMPT} 3"},
    {"kind": "html_error", "prompt": f"{PROMPT} 4", "times": 1},
    {"kind": "server_error", "prompt": f"{PROMPT} 5", "times": 1},
    {"kind": "truncated_image", "prompt": f"{PROMPT} 6"},
    {"kind": "text_only", "prompt": f"{PROMPT} 7", "times": 1},
    {"kind": "rate_limited", "prompt": f"{PROMPT} 8", "times": 1, "retry_after_s": 0.1},
    {"kind": "drop", "prompt": f"{PROMPT} 9"},
]


class Everything(logging.Handler):
    """Keeps every record of every logger as it would be written, tracebacks and arguments too."""

    def __init__(self):
        super().__init__(logging.NOTSET)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record):
        self.lines.append(f"{self.format(record)} {record.args!r}")


@pytest.fixture
def everything():
    """Listen to all loggers at DEBUG, those that do not propagate too."""
    handler = Everything()
    loggers = [
        logging.getLogger(),
        *map(logging.getLogger, list(logging.Logger.manager.loggerDict)),
    ]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.disabled = False
        if logger.name == "root" or not logger.propagate:
            logger.addHandler(handler)
    yield handler
    for logger, level, disabled in before:
        logger.setLevel(level)
        logger.disabled = disabled
        logger.removeHandler(handler)


def silent(text: str, where: str) -> None:
    """The canary is not in it; the failure does not print all of it either."""
    at = text.lower().find(CANARY)
    assert at < 0, f"{where}: {text[max(0, at - 300) : at + 60]}"


def whole(error: BaseException) -> str:
    """Return an exception with its chain, as it would be printed, and everything it holds."""
    parts = ["".join(traceback.format_exception(error))]
    while error is not None:
        parts.append(f"{error!r} {error.args!r} {vars(error)!r}")
        error = error.__cause__ or error.__context__
    return "\n".join(parts)


def told_to_the_server(run_id: str, *, tasks_told: int) -> str:
    """Return what the Prefect server knows of a run in words: log, names, states, artifacts, events."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter

    async def read() -> str:
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run_id)]))
        async with get_client() as client:
            deadline = time.monotonic() + 30
            while len(tasks := await client.read_task_runs(flow_run_filter=mine)) < tasks_told:
                assert time.monotonic() < deadline, f"{len(tasks)} tasks told"
                await asyncio.sleep(0.2)
            run = await client.read_flow_run(UUID(run_id))
            logs = await client.read_logs(LogFilter(flow_run_id={"any_": [run_id]}), limit=200)
            artifacts = await client.read_artifacts(flow_run_filter=mine)
            events = await client._client.post("/events/filter", json={"limit": 50})
        assert run.state.is_final()
        told = [run.name, run.state.message, *(log.message for log in logs), events.text]
        told += [f"{task.name} {task.state!r} {task.task_inputs!r}" for task in tasks]
        told += [f"{artifact.key} {artifact.data} {artifact.description}" for artifact in artifacts]
        return "\n".join(map(str, told))

    return asyncio.run(read())


def service_logs(mill) -> str:
    files = [path for path in (mill.home / "logs").rglob("*") if path.is_file()]
    assert files
    return "\n".join(path.read_text("utf-8", "replace") for path in files)


def test_no_log_name_or_event_holds_a_prompt(mill, receiver, everything, capfd):
    """A batch with a failure of each class, announced to a receiver that was away at first."""
    from flows.webhooks import deliver_webhooks

    receiver.answer_next(503)
    mill.fake.script(faults=FAULTS)
    prompts = [f"{PROMPT} {number}" for number in range(1, 11)]
    result = mill.run(
        prompts, webhook=receiver.url, negative_prompt=f"no {CANARY}", max_concurrent=5
    )
    asyncio.run(deliver_webhooks())
    classes = {entry.get("error_class") for entry in result["results"]}
    assert classes >= {None, "blocked", "unsupported", "ambiguous"}
    printed = capfd.readouterr()
    assert len(everything.lines) > 200
    silent("\n".join(everything.lines), "a log")
    silent(printed.out + printed.err, "the terminal")
    silent("\n".join(str(entry.get("error")) for entry in result["results"]), "an error")
    silent(told_to_the_server(result["run_id"], tasks_told=13), "the Prefect server")
    silent(service_logs(mill), "a service's log")
    ((body,),) = mill.rows("SELECT body FROM outbox")
    silent(body, "the webhook")


REFUSED = [
    {"prompts": [PROMPT, 7]},
    {"prompts": [PROMPT, {"words": PROMPT}]},
    {"prompts": {PROMPT: 1}},
    {"prompts": PROMPT},
    {"prompts": [f"{PROMPT} " * 1_000]},
    {"prompts": [f"{PROMPT} " * 2_000]},
    {"prompts": [PROMPT, {"prompt": PROMPT, "seed": PROMPT}]},
    {"prompts": [PROMPT, {"prompt": PROMPT, PROMPT: PROMPT}]},
    {"prompts": [PROMPT, {"prompt": PROMPT, "style_name": "Nonesuch"}]},
    {"prompts": [PROMPT], "seed": PROMPT},
    {"prompts": [PROMPT], "size": PROMPT},
    {"prompts": [PROMPT], "samples": "many"},
    {"prompts": [PROMPT], "negative_prompt": PROMPT * 200},
    {"prompts": [PROMPT], "style_name": "Nonesuch"},
    {"prompts": [PROMPT], "references": ["/etc/passwd"]},
    {"prompts": [PROMPT], "output_dir": "/dev/null/out"},
]


def test_no_refusal_at_the_door_holds_a_prompt(mill, everything, capfd):
    """Prefect logs all parameters when its own validation fails; ours is the only one that runs."""
    for fields in REFUSED:
        with pytest.raises(ImagemillError) as refused:
            mill.run(**fields)
        silent(whole(refused.value), f"the exception for {sorted(fields)}")
    printed = capfd.readouterr()
    silent("\n".join(everything.lines), "a log")
    silent(printed.out + printed.err, "the terminal")


@pytest.mark.parametrize(
    "ledger_address",
    ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)],
    indirect=True,
)
def test_no_dead_store_or_ledger_makes_a_prompt_appear(mill, everything, capfd, monkeypatch):
    """The database and S3 fail in the middle of the run, with prompts in their parameters."""
    from imagemill.store.s3 import S3Store

    async def away(self, *_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(S3Store, "put_file", away)
    result = mill.run([PROMPT, f"{PROMPT} 2"])
    assert result["success_count"] == 0
    silent("\n".join(str(entry["error"]) for entry in result["results"]), "an error")
    with pytest.raises(ImagemillError) as refused:
        mill.ask(lambda ledger: ledger._db.run(lambda c: broken_statement(c)))
    silent(whole(refused.value), "the ledger's exception")
    printed = capfd.readouterr()
    silent("\n".join(everything.lines), "a log")
    silent(printed.out + printed.err, "the terminal")


def broken_statement(connection):
    from sqlalchemy import text

    return connection.execute(text("INSERT INTO nowhere VALUES (:p)"), {"p": PROMPT})


async def deployed(name: str, *, enforced: bool) -> UUID:
    """Put the batch flow up as `prefect deploy` does; returns the deployment's id."""
    from prefect import get_client
    from prefect.utilities.callables import parameter_schema

    from flows.batch import generate_images_batch

    async with get_client() as client:
        return await client.create_deployment(
            flow_id=await client.create_flow(generate_images_batch),
            name=name,
            entrypoint="flows/batch.py:generate_images_batch",
            path=str(PROJECT),
            parameter_openapi_schema=parameter_schema(generate_images_batch).model_dump(),
            enforce_parameter_schema=enforced,
        )


def test_no_run_of_a_deployment_prints_what_was_wrongly_asked(mill):
    """A run whose parameters are wrong fails with our words, in the worker's terminal and log."""
    from prefect import get_client

    async def start() -> str:
        deployment_id = await deployed("canary-run", enforced=False)
        async with get_client() as client:
            run = await client.create_flow_run_from_deployment(
                deployment_id, parameters={"prompts": [PROMPT, 7]}
            )
        return str(run.id)

    run_id = asyncio.run(start())
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "flow-run", "execute", run_id],
        cwd=PROJECT,
        env={**os.environ, **mill.environment, "PREFECT_LOGGING_LEVEL": "DEBUG"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "prompt 2" in done.stdout + done.stderr
    silent(done.stdout + done.stderr, "the worker's terminal")
    silent(told_to_the_server(run_id, tasks_told=0), "the Prefect server")
    silent(service_logs(mill), "a service's log")


def test_a_deployment_that_refuses_parameters_leaves_no_trace_of_them(mill):
    """The server checks a form itself; what it answers to the asker is not in its log."""
    import httpx
    from prefect import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    async def ask() -> None:
        deployment_id = await deployed("canary-form", enforced=True)
        async with get_client() as client:
            for fields in REFUSED[:3]:
                with pytest.raises((PrefectHTTPStatusError, httpx.HTTPStatusError)):
                    await client.create_flow_run_from_deployment(deployment_id, parameters=fields)

    asyncio.run(ask())
    silent(service_logs(mill), "a service's log")
