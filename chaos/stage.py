"""One row's own world: a fake provider, a receiver, proxies, a home, a ledger, a prefix."""

import asyncio
import random
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

from apps.receiver import Receiver
from blocks.settings import Settings
from blocks.webhook import load_endpoint
from chaos.child import Job, Run
from chaos.evidence import gather
from chaos.judging import Verdict, judge
from chaos.proxy import Proxy
from chaos.site import Interrupted, Site
from imagemill.delivering import sweep
from imagemill.ledger.database import open_transactions
from imagemill.ledger.ledger import Ledger, utc_now
from tests.wire.gemini import FakeGemini

RUN_TIMEOUT_S = 240.0
"""A run that takes longer hangs: it is killed, and the row says so."""
TRIES = 6
SWEEPS = 3


@dataclass
class Outcome:
    """What a row shows: figures, how long it took, and what is worth saying.

    `title` may hold `{kills}`: how many processes were killed in it.
    """

    title: str
    verdict: Verdict = field(default_factory=Verdict)
    first: int | None = None
    kills: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.title.format(kills=self.kills)

    @property
    def broken(self) -> list[str]:
        return [*self.verdict.broken, *self.problems]

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.title, self.verdict + other.verdict, self.first,
            self.kills + other.kills, self.seconds + other.seconds, list(dict.fromkeys([*self.notes, *other.notes])),
            [*self.problems, *other.problems],
        )  # fmt: skip


class Stage:
    """A row is played on it. Use as a context manager; `outcome` when the play is over."""

    def __init__(self, site: Site, name: str, *, database: str, rng: random.Random) -> None:
        self.site, self.name, self.rng, self.database = site, name, rng, database
        self.folder = site.folder / f"{database}-{name}"
        self.home = self.folder / "home"
        self.prefix = f"{database}-{name}"
        self.at_once = 6
        self.asked = self.kills = 0
        self.resend_asked = False
        self.first: int | None = None
        self.final_runs: list[str] = []
        self.parameters: dict[str, Any] = {}
        self.notes: list[str] = []
        self.problems: list[str] = []
        self._batches, self._jobs = count(1), count(1)
        self._running: list[Run] = []
        self._open = ExitStack()

    def __enter__(self) -> "Stage":
        self.home.mkdir(parents=True)
        enter = self._open.enter_context
        self.fake = enter(FakeGemini(latency_s=0.05))
        self.provider_line = enter(Proxy(self.fake.url))
        self.s3_line = enter(Proxy(self.site.services.object_store_url))
        self.receiver = enter(Receiver(self.site.webhook_secret))
        self.ledger_url = self._make_ledger()
        self.environment = {
            **self.site.environment(),
            "IMAGEMILL_HOME": str(self.home),
            "IMAGEMILL_DATABASE_URL": self.ledger_url,
            "IMAGEMILL_S3_ENDPOINT_URL": self.s3_line.url,
            "IMAGEMILL_S3_PREFIX": self.prefix,
            "IMAGEMILL_WEBHOOK_PRIVATE_HOSTS": self.receiver.private_host,
            "GOOGLE_GEMINI_BASE_URL": self.provider_line.url,
        }
        self.began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._running:
            if run.alive:
                run.kill()
        self._open.close()

    def _make_ledger(self) -> str:
        if self.site.cluster and self.database == "postgresql":
            return self.site.cluster.make(f"chaos-{self.name}")
        return f"sqlite:///{self.folder / 'ledger.db'}"

    def at_the_end(self, callback: Any, *arguments: Any) -> None:
        """Call this when the row is over, however it ends."""
        self._open.callback(callback, *arguments)

    def batch(self, images: int = 30) -> list[str]:
        """Return the prompts of a new batch, and count them as asked for."""
        number = next(self._batches)
        self.asked += images
        return [f"chaos {self.name}, batch {number}, picture {n}" for n in range(1, images + 1)]

    def start(self, prompts: list[str], *, resend: bool = False, **job: Any) -> Run:
        """Start the batch in a process of its own."""
        self.resend_asked |= resend
        parameters = {
            "prompts": prompts,
            "max_concurrent": self.at_once,
            "webhook": self.receiver.url,
            "resend_ambiguous": resend,
            **self.parameters,
        }
        folder = self.folder / f"run-{next(self._jobs)}"
        run = Run.start(Job(parameters, dict(self.environment), folder, **job))
        self._running.append(run)
        return run

    def ended(self, run: Run) -> dict[str, Any] | None:
        """Wait for a run to end; its result, or None when it broke off."""
        self.until(lambda: not run.alive, within_s=RUN_TIMEOUT_S, of=None)
        if run.alive:
            run.kill()
            self.problems.append(f"a run hung for {RUN_TIMEOUT_S:.0f} s")
        result = run.result()
        if not self.kills and len(self._running) == 1:
            self.first = result["success_count"] if result else 0
        if result is None:
            self.notes.append(f"a run broke off ({run.reason()}) and was started again")
        return result

    def until(self, so: Any, *, of: Run | None, within_s: float = 60.0) -> bool:
        """Poll until it is so. False when the run `of` ended or the time was up before."""
        deadline = time.monotonic() + within_s
        while not so():
            if self.site.stopping.is_set():
                raise Interrupted
            if time.monotonic() > deadline or (of is not None and not of.alive):
                return bool(so())
            time.sleep(0.01)
        return True

    def served(self, number: int) -> Any:
        """Return a question for `until`: has the provider served so many pictures?"""
        return lambda: self.fake.stats.images_served >= number

    def middle(self, run: Run, *, first: int = 6, last: int = 14) -> None:
        """Wait until some pictures are served: the moment to break something, drawn by the seed."""
        self.until(self.served(self.rng.randint(first, last)), of=run)
        if self.fake.stats.images_served >= self.asked:
            self.notes.append("the fault came too late to matter")

    def finish(self, prompts: list[str], **job: Any) -> None:
        """Do what an owner does afterwards: the same again; then resend what is unclear."""
        resend, last = False, None
        for _ in range(TRIES):
            result = self.ended(self.start(prompts, resend=resend, **job))
            if result is None:
                continue
            last = result
            refused = sum(r.get("error_class") == "blocked" for r in result["results"])
            if result["success_count"] + refused == result["total"]:
                break
            resend = resend or result["ambiguous_count"] > 0
        if last is None:
            self.problems.append("a batch could not be finished")
        else:
            self.final_runs.append(last["run_id"])

    def outcome(self, title: str) -> Outcome:
        """Deliver waiting webhooks, then ask all witnesses and judge."""
        seconds = time.monotonic() - self.began
        asyncio.run(self._sweep())
        return Outcome(
            title, judge(gather(self)), self.first, self.kills, seconds, self.notes, self.problems
        )

    async def _sweep(self) -> None:
        """Run the outbox sweep, by a clock that is ahead: the schedule waits up to six hours."""
        settings = Settings(
            home=self.home,
            webhook_secret=self.site.webhook_secret,
            webhook_private_hosts=self.receiver.private_host,
        )

        async def endpoint_of(name: str) -> Any:
            return await load_endpoint(name, settings)

        for turn in range(1, SWEEPS + 1):
            ahead = timedelta(hours=12 * turn)
            ledger = Ledger(
                open_transactions(self.ledger_url), clock=lambda by=ahead: utc_now() + by
            )
            try:
                await sweep(ledger, endpoint_of)
            finally:
                ledger.close()
