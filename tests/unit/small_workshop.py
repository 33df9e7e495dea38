"""A workshop without Prefect, network or S3: a scripted provider, a store in memory, a real ledger."""

from collections import deque
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from imagemill.artifact import ArtifactRef, digest_of
from imagemill.bills import recall_bills
from imagemill.breaker import CircuitBreaker
from imagemill.completing import completed
from imagemill.errors import ArtifactError
from imagemill.ledger import Ledger, RunRow
from imagemill.ledger.holder import holder
from imagemill.pacing import Pacer
from imagemill.planning import plan
from imagemill.prompt import Style
from imagemill.providers.base import Capabilities, GeneratedImage
from imagemill.routing import Route
from imagemill.spool import Spool
from imagemill.style_lock import pin_to_paid
from imagemill.workshop import Workshop
from tests.builders import batch_request
from tests.wire.pixels import png

WORST, PRICE = Decimal("0.05"), Decimal("0.03")
STYLE = Style(name="Plain", description="nothing added", template="{prompt}")


class ScriptedProvider:
    """Does what it is told, call by call: raise, return bytes, or await; then draws pictures.

    `bills` are what the first answers cost; later ones cost `PRICE`.
    """

    def __init__(
        self, *script, name="scripted", breaker=None, bills=(), facts=None, **capabilities
    ):
        self.name = name
        self.facts = facts or {}
        self.bills = deque(bills)
        self.breaker = breaker
        self.can = capabilities
        self.script = deque(script)
        self.calls = []

    def capabilities(self, model=""):
        fields = {
            "provider": self.name, "model": model or f"{self.name}-1", "sizes": {"256": WORST},
            "default_size": "256", "aspect_ratios": ("1:1", "16:9"), "prompt_limit_chars": 200,
        }  # fmt: skip
        return Capabilities(**{**fields, **self.can})

    async def check_configuration(self):
        """Always ready."""

    async def generate(self, request, references=()):
        self.calls.append(request)
        step = self.script.popleft() if self.script else None
        if isinstance(step, BaseException):
            raise step
        if callable(step):
            await step()
        unique = f"{request.key}{len(self.calls)}".encode()
        data = step if isinstance(step, bytes) else png(unique, width_px=16, height_px=16)
        return GeneratedImage(
            data=data,
            media_type="image/png",
            cost_usd=self.bills.popleft() if self.bills else PRICE,
            model=f"{self.name}-1",
            seed=request.seed,
            facts=self.facts,
        )

    async def aclose(self):
        """Nothing to close."""


class MemoryStore:
    """Objects by key; raises what `failures` holds, one an upload."""

    name = "memory"

    def __init__(self):
        self.objects: dict[str, bytes] = {}
        self.failures = deque()
        self.uploads = 0

    async def check(self):
        """Always there."""

    async def put_file(self, ref, path):
        return await self.put_bytes(ref, path.read_bytes())

    async def put_bytes(self, ref, data):
        self.uploads += 1
        if self.failures:
            raise self.failures.popleft()
        assert digest_of(data) == ref.digest
        return self.objects.setdefault(ref.key, data) is data

    async def put_named(self, key, data, *, media_type):
        self.objects[key] = data

    async def get(self, ref):
        if ref.key not in self.objects:
            raise ArtifactError("It is not there.")
        return self.objects[ref.key]

    async def exists(self, ref: ArtifactRef):
        return ref.key in self.objects

    def url(self, ref):
        return f"memory:{ref.key}"

    def named_url(self, key):
        return f"memory:{key}"

    async def aclose(self):
        """Nothing to close."""


async def small_workshop(
    ledger: Ledger, home: Path, *script, run_id: str = "run-1", store=None, output_dir=None,
    provider=None, others=(), pid_of=holder, deployment="", **batch,
) -> Workshop:  # fmt: skip
    """Open a run of a batch on this ledger; what is in `script` is what the provider does.

    `others` are the providers of the fallback.
    """
    provider = provider or ScriptedProvider(*script)
    wanted = batch_request(**{"provider": "scripted", "style_name": "Plain", **batch})
    routes = tuple(route_of(each, wanted) for each in (provider, *others))
    now = ledger.now()
    row = RunRow(
        id=run_id, kind="batch", lineage=run_id, batch_digest=wanted.digest, state="running",
        holder=pid_of(), deployment=deployment, total=len(wanted.prompts) * wanted.samples, created_at=now, heartbeat_at=now,
    )  # fmt: skip
    spool = Spool(home)
    spool.check()
    shop = Workshop(
        run=await ledger.begin_run(row, max_cost_usd=wanted.max_cost_usd), batch=wanted, style=STYLE, routes=routes, references=(),
        store=store or MemoryStore(), ledger=ledger, spool=spool, folder=home / "runs" / run_id,
        output_dir=output_dir,
    )  # fmt: skip
    await pin_to_paid(shop)
    await recall_bills(shop)
    return shop


def route_of(provider, wanted) -> Route:
    """Open the way to a provider, with a pacer and a breaker of its own unless it brings one."""
    capabilities = provider.capabilities()
    return Route(
        name=getattr(provider, "route_name", provider.name), provider=provider,
        capabilities=capabilities,
        requests=completed(provider, plan(wanted, STYLE, capabilities), wanted.wishes),
        pacer=Pacer(100),
        breaker=getattr(provider, "breaker", None) or CircuitBreaker(),
    )  # fmt: skip


@contextmanager
def unwritable(folder: Path):
    """Put a file in the folder's place: not even root can write into it."""
    aside = folder.with_name(f"{folder.name}.aside")
    if folder.exists():
        folder.rename(aside)
    folder.write_bytes(b"in the way")
    yield
    folder.unlink()
    if aside.exists():
        aside.rename(folder)
