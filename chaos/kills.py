"""Rows in which the batch's own process dies: kill -9 at random moments, and twins."""

from functools import partial

from chaos.child import Run
from chaos.evidence import Books
from chaos.provider_faults import Row
from chaos.stage import Stage
from imagemill.workshop import DESK_SPARE

IMAGES = 24
KILLS_A_BATCH = 5
KILLS_A_ROW = 10
"""More kills are spread over rows that run side by side; the scorecard adds them up."""


def kill_rows(kills: int) -> list[Row]:
    """Return rows that kill so many times together."""
    parts = [KILLS_A_ROW] * (kills // KILLS_A_ROW)
    if rest := kills % KILLS_A_ROW:
        parts.append(rest)
    title = "Batch killed with -9, {kills} times"
    return [
        Row(f"kill-{number}", title, partial(killed, kills=part))
        for number, part in enumerate(parts, 1)
    ]


def killed(stage: Stage, *, kills: int) -> None:
    """Start, kill, start the same again, until so many kills are spent; then let it finish."""
    while stage.kills < kills:
        stage.fake.script(latency_s=stage.rng.choice([0.02, 0.1, 0.2]))
        prompts = stage.batch(IMAGES)
        for _ in range(min(KILLS_A_BATCH, kills - stage.kills)):
            # An owner may ask to resend at any start, also after a kill.
            run = stage.start(prompts, resend=stage.rng.random() < 0.25)
            if not _killed_at_some_moment(stage, run):
                break
        stage.finish(prompts)


def _killed_at_some_moment(stage: Stage, run: Run) -> bool:
    """Kill after some pictures, after some time, or at the end; False when it was quicker."""
    served = stage.fake.stats.images_served
    moment = stage.rng.choice(["served", "served", "time", "end"])
    if moment == "served":
        stage.until(stage.served(served + stage.rng.randint(1, 9)), of=run)
    elif moment == "time":
        stage.until(lambda: False, of=run, within_s=stage.rng.uniform(0.1, 3.0))
    else:
        sheets = _sheets(stage)
        stage.until(lambda: _sheets(stage) > sheets, of=run)
    stage.until(lambda: False, of=run, within_s=stage.rng.uniform(0.0, 0.2))
    killed = run.kill()
    stage.kills += killed
    in_doubt = max(Books.reserved_by_run(stage.ledger_url, state="open"), default=0)
    if in_doubt > 2 * stage.at_once + DESK_SPARE:
        stage.problems.append(f"{in_doubt} requests of one run in doubt after a kill")
    return killed


def _sheets(stage: Stage) -> int:
    """Count contact sheets: one is written when a run has all its pictures and is not yet over."""
    return len(list(stage.home.glob("runs/*/contact-sheet.png")))


def twins(stage: Stage) -> None:
    """Two processes make the same batch at the same moment; one of them is killed."""
    stage.fake.script(latency_s=1.0)
    prompts = stage.batch(IMAGES)
    pair = [stage.start(prompts), stage.start(prompts)]
    _both_at_work(stage, pair)
    stage.until(lambda: False, of=pair[0], within_s=stage.rng.uniform(0.0, 0.8))
    stage.kills += pair[stage.rng.randrange(2)].kill()
    for run in pair:
        if run.wait(0) and run.result() is None:
            continue
        stage.ended(run)
    stage.finish(prompts)
    stage.notes.append("one of two killed")


def _both_at_work(stage: Stage, pair: list[Run]) -> None:
    """Wait until both have sent something; say so when one was too quick for the other."""
    if not stage.until(lambda: len(Books.reserved_by_run(stage.ledger_url)) > 1, of=pair[0]):
        stage.notes.append("one twin did all the work")


def twins_apart(stage: Stage) -> None:
    """The same, on machines whose clocks are an hour apart: each lease looks expired to the one."""
    stage.fake.script(latency_s=1.0)
    stage.parameters = {"reuse_within_s": 7 * 86_400}
    prompts = stage.batch(IMAGES)
    pair = [stage.start(prompts), stage.start(prompts, clock_jumps=((1, 3600.0),))]
    _both_at_work(stage, pair)
    for run in pair:
        stage.ended(run)
    stage.finish(prompts)
    stage.notes.append("one ledger's clock is an hour ahead; reuse_within_s is a week")


TWIN_ROWS = [
    Row("twins", "The same batch twice at once", twins),
    Row("twins-apart", "Twins with clocks an hour apart", twins_apart),
]
