"""Rows in which the provider misbehaves, by the fake Gemini's script."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chaos.stage import Stage

IMAGES = 30


@dataclass(frozen=True)
class Row:
    """One fault: its name for `--only`, what the scorecard calls it, and the play.

    Attributes:
        alone: No other row may run meanwhile: it breaks what they share.
        database: The only one it makes sense on; "" for both.
        long: It takes more than a minute: played with `--full`, or when it is named.
    """

    name: str
    title: str
    play: Callable[[Stage], None]
    alone: bool = False
    database: str = ""
    long: bool = False


def scripted(
    name: str, title: str, *faults: dict[str, Any], hits: int = 7, of: int = IMAGES
) -> Row:
    """Make a row in which `hits` requests among the first `of` go wrong, drawn by the seed."""

    def play(stage: Stage) -> None:
        numbers = stage.rng.sample(range(2, of + 1), hits)
        parts = [numbers[n :: len(faults)] for n in range(len(faults))]
        rules = [{**fault, "nth": nth} for fault, nth in zip(faults, parts, strict=True)]
        stage.fake.script(faults=rules)
        prompts = stage.batch(IMAGES)
        stage.ended(stage.start(prompts))
        stage.fake.script(faults=[])
        stage.finish(prompts)

    return Row(name, title, play)


STALL_S = 60.0


def stall(stage: Stage) -> None:
    """Answers that never come."""
    _timeout(stage, 2)
    stage.fake.script(faults=[{"kind": "stall", "nth": stage.rng.sample(range(2, IMAGES), 6)}])
    prompts = stage.batch(IMAGES)
    stage.ended(stage.start(prompts))
    stage.fake.script(faults=[])
    stage.finish(prompts)
    stage.notes.append("answers stall for ever; time-out lowered to 2 s")


def stall_answered(stage: Stage) -> None:
    """Answers that take a minute, within the time-out as it is shipped: waited for, paid once."""
    prompts = _stalled(stage)
    if stage.first != IMAGES:
        stage.problems.append(f"{IMAGES - (stage.first or 0)} answers were not waited for")
    stage.finish(prompts)
    stage.notes.append(f"six answers take {STALL_S:.0f} s; time-out as shipped (120 s)")


def stall_given_up(stage: Stage) -> None:
    """Answers that take a minute and are waited for half of it: billed to nobody who listens."""
    _timeout(stage, STALL_S / 2)
    prompts = _stalled(stage)
    stage.until(lambda: not stage.fake.stats.in_flight, of=None, within_s=STALL_S)
    stage.finish(prompts)
    stage.notes.append(f"six answers take {STALL_S:.0f} s; time-out {STALL_S / 2:.0f} s")


def _stalled(stage: Stage) -> list[str]:
    """Run a batch in which six answers come a minute late."""
    late = stage.rng.sample(range(2, IMAGES), 6)
    stage.fake.script(faults=[{"kind": "slow", "nth": late, "latency_s": STALL_S}])
    prompts = stage.batch(IMAGES)
    stage.ended(stage.start(prompts))
    stage.fake.script(faults=[])
    return prompts


def _timeout(stage: Stage, timeout_s: float) -> None:
    """Lower the time-out as an operator would: by a catalog file."""
    catalog = stage.folder / "catalog.toml"
    catalog.write_text(f'[models."gemini-nano-banana-2.1"]\ntimeout_s = {timeout_s}\n')
    stage.environment["IMAGEMILL_CATALOG_FILE"] = str(catalog)


def safety(stage: Stage) -> None:
    """Some prompts are refused, each time."""
    prompts = stage.batch(IMAGES)
    bad = stage.rng.sample(prompts, 7)
    kinds = ["image_safety", "prompt_blocked"]
    # A prompt is a part of another (picture 1, picture 12): the whole line ends in a full stop.
    prompts = [f"{prompt}." if prompt in bad else prompt for prompt in prompts]
    stage.fake.script(
        faults=[{"kind": kinds[n % 2], "prompt": f"{prompt}."} for n, prompt in enumerate(bad)]
    )
    stage.ended(stage.start(prompts))
    stage.finish(prompts)
    stage.notes.append("7 prompts stay refused")


def key_revoked(stage: Stage) -> None:
    """The key stops working in the middle, and works again later."""
    stage.fake.script(latency_s=0.4)
    prompts = stage.batch(IMAGES)
    run = stage.start(prompts)
    stage.middle(run)
    stage.fake.script(api_key="another")
    stage.ended(run)
    stage.fake.script(api_key="")
    stage.finish(prompts)


def unreachable(stage: Stage) -> None:
    """Connections break, and new ones are refused for a while."""
    stage.fake.script(latency_s=0.4)
    prompts = stage.batch(IMAGES)
    run = stage.start(prompts)
    stage.middle(run)
    stage.provider_line.gone()
    stage.until(lambda: False, of=run, within_s=3)
    stage.provider_line.back()
    stage.ended(run)
    stage.finish(prompts)


def receiver_away(stage: Stage) -> None:
    """The receiver answers 503 to the first deliveries; the sweep brings them later."""
    prompts = stage.batch(10)
    stage.receiver.answer_next(503, times=2)
    stage.ended(stage.start(prompts))
    stage.finish(prompts)


PROVIDER_ROWS = [
    scripted("429-told", "429, with retry-after", {"kind": "rate_limited", "retry_after_s": 1}, hits=14),
    scripted("429-untold", "429, without retry-after", {"kind": "rate_limited"}, hits=9),
    scripted("5xx", "500 and 503", {"kind": "server_error", "status": 500}, {"kind": "server_error", "status": 503}, hits=12),
    scripted("dropped-before", "Dropped before the answer", {"kind": "drop"}),
    scripted("dropped-midway", "Dropped in mid-answer", {"kind": "drop_midway"}),
    scripted("bad-json", "Truncated JSON", {"kind": "truncated_json"}),
    scripted("bad-base64", "Broken base64", {"kind": "bad_base64"}),
    scripted("bad-image", "Truncated image", {"kind": "truncated_image"}),
    scripted("html", "HTML instead of JSON", {"kind": "html"}, {"kind": "html_error"}),
    Row("stall", "Answers that stall", stall),
    Row("minute-answered", "Answers after 60 s, waited for", stall_answered, long=True),
    Row("minute-given-up", "Answers after 60 s, given up at 30 s", stall_given_up, long=True),
    Row("safety", "Safety blocks", safety),
    Row("key-revoked", "Key revoked in mid-run", key_revoked),
    Row("unreachable", "Provider unreachable for 3 s", unreachable),
    Row("receiver-away", "Webhook receiver away", receiver_away),
]  # fmt: skip
