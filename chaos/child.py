"""One batch in a process of its own.

The process is forked from one that has imported everything, and so spares the 3 s of imports;
nothing else is shared: it opens its own ledger, store, provider and Prefect client.
"""

import asyncio
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

# Imported once, in the process that is forked from. None of them starts a thread.
import boto3  # noqa: F401
import google.genai  # noqa: F401

import flows.batch
from blocks.store import forget_stores

ERROR = re.compile(r"^[ |]*(?:\w+\.)*([A-Z]\w+): ")
"""A traceback's last line, also inside an exception group."""

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["chaos.child"])


@dataclass(frozen=True)
class Job:
    """What one process does: this batch, in this environment.

    `clock_jumps` are (calls, seconds): from the ledger's so-many-th look at the clock on, it shows
    that much more than the truth.
    """

    parameters: dict[str, Any]
    environment: dict[str, str]
    folder: Path
    clock_jumps: tuple[tuple[int, float], ...] = ()
    largest_file_bytes: int | None = None


def work(job: Job) -> None:
    """Run the batch flow; its result goes to `folder/result.json`, its words to `folder/log`."""
    os.setsid()  # Ctrl-C is for the harness, which then ends us
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(job.folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(job.environment)
    forget_stores()
    if job.clock_jumps:
        _bend_clock(job.clock_jumps)
    if job.largest_file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.largest_file_bytes, resource.RLIM_INFINITY))
    try:
        result = asyncio.run(flows.batch.generate_images_batch(**job.parameters))
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    partial = job.folder / "result.part"
    partial.write_text(json.dumps(result, default=str))
    partial.rename(job.folder / "result.json")


def _bend_clock(jumps: tuple[tuple[int, float], ...]) -> None:
    """Every ledger opened in this process from now on looks at a clock that jumps."""
    from imagemill.ledger import ledger

    looks = 0

    def clock():
        nonlocal looks
        looks += 1
        shift = next((s for calls, s in reversed(jumps) if looks >= calls), 0.0)
        return ledger.utc_now() + timedelta(seconds=shift)

    ledger.Ledger.__init__.__kwdefaults__["clock"] = clock


@dataclass
class Run:
    """A batch under way in its own process."""

    job: Job
    process: BaseProcess
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, job: Job) -> "Run":
        job.folder.mkdir(parents=True)
        process = _forks.Process(target=work, args=(job,), daemon=True)
        process.start()
        return cls(job, process)

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def kill(self) -> bool:
        """SIGKILL. False when it had ended by itself."""
        was_alive = self.alive
        self.process.kill()
        self.process.join()
        return was_alive and self.result() is None

    def wait(self, timeout_s: float) -> bool:
        self.process.join(timeout_s)
        return not self.alive

    def result(self) -> dict[str, Any] | None:
        """What the flow returned; None when it did not end, or raised."""
        path = self.job.folder / "result.json"
        return json.loads(path.read_text()) if path.exists() else None

    def reason(self) -> str:
        """The class of the error it broke off with: its message may hold a path of this machine."""
        path = self.job.folder / "log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        named = (ERROR.search(line) for line in reversed(lines))
        return next((found[1] for found in named if found), "no error in its log")
