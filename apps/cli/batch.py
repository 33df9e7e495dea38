"""`imagemill batch`: run a batch here and now."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from apps.cli.prompts import read_prompts
from apps.cli.screen import (
    ALL_FAILED,
    INTERRUPTED,
    SOME_FAILED,
    STOPPED,
    busy,
    live_bar,
    say,
    screen,
    show_closing,
)
from apps.cli.shelf import show_price
from apps.runs import LocalRuns
from apps.services.ensure import ensure_services
from blocks.settings import Settings
from imagemill.errors import RunStopped
from imagemill.intake import load_reference
from imagemill.ledger import open_ledger
from imagemill.ledger.holder import holder
from imagemill.ledger.reading import ledger_exists
from imagemill.netguard import Guard
from imagemill.planning import checked_batch
from imagemill.prompt import find_style
from imagemill.request import BatchRequest
from imagemill.routing import route_names
from imagemill.rows import about
from imagemill.spool import check_output_folder


def batch(
    prompts: Annotated[
        list[str] | None, typer.Argument(help="One prompt an image.", show_default=False)
    ] = None,
    prompts_file: Annotated[
        Path | None,
        typer.Option(
            "--prompts-file",
            "-f",
            help="A prompt a line, '# …' a note; '-' is standard input. "
            ".jsonl and .csv: rows with settings of their own.",
        ),
    ] = None,
    style: Annotated[
        str, typer.Option("--style", "-s", help="A look: see `imagemill styles`.")
    ] = "Flat Corporate",
    max_concurrent: Annotated[
        int, typer.Option("--max-concurrent", "-c", min=1, max=100, help="Most at once.")
    ] = 3,
    provider: Annotated[
        str,
        typer.Option(
            "--provider",
            "-p",
            help="gemini, comfyui (your server), sdxl (your GPU), sketch (free drawings) or KIND/BLOCK.",
            envvar="IMAGEMILL_PROVIDER",
        ),
    ] = "gemini",
    model: Annotated[str, typer.Option(help="See `imagemill models`.")] = "",
    aspect_ratio: Annotated[str, typer.Option("--aspect-ratio", "-r", help="Like 16:9.")] = "1:1",
    size: Annotated[str, typer.Option(help="256, 512, 1K, 2K or 4K.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Makes it repeatable.")] = None,
    samples: Annotated[int, typer.Option(min=1, max=16, help="Images a prompt.")] = 1,
    avoid: Annotated[str, typer.Option(help="What not to show.")] = "",
    safety: Annotated[str, typer.Option(help="block_none, _few, _some, _most.")] = "block_few",
    reference: Annotated[
        list[str] | None, typer.Option("--reference", help="Image to be guided by; repeatable.")
    ] = None,
    store: Annotated[str, typer.Option(help="An Artifact Store block.")] = "default",
    webhook: Annotated[str, typer.Option(help="Address to tell when done.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also put files here.")] = None,
    reuse_within: Annotated[
        int, typer.Option(min=0, help="Seconds an equal image counts as this one.")
    ] = 900,
    resend_ambiguous: Annotated[
        bool, typer.Option("--resend-ambiguous", help="Pay again where an answer was lost.")
    ] = False,
    fallback: Annotated[
        list[str] | None,
        typer.Option(
            "--fallback", help="Who draws what the provider cannot: NAME or NAME:MODEL; repeatable."
        ),
    ] = None,
    style_lock: Annotated[
        bool, typer.Option("--style-lock", help="One model draws all, whoever is first able to.")
    ] = False,
    max_cost_usd: Annotated[
        float | None, typer.Option("--max-cost-usd", min=0, help="Stop before it costs more.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Price it; send, store and pay nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result, and only it, to standard output.")
    ] = False,
) -> None:
    """Make images from prompts. Each is paid for once; a failed one never fails the rest.

    Run the same command again after a crash or Ctrl-C: it finishes what is missing and pays
    nothing twice.

    [dim]imagemill batch "a red fox" "a lighthouse at night" --style "Pixel Art" --provider sketch[/]
    """  # fmt: skip
    fields: dict[str, Any] = {
        "prompts": [*(prompts or []), *read_prompts(prompts_file)], "style_name": style,
        "max_concurrent": max_concurrent, "provider": provider, "model": model, "store": store,
        "aspect_ratio": aspect_ratio, "size": size, "seed": seed, "samples": samples,
        "negative_prompt": avoid, "safety": safety, "references": reference or [],
        "webhook": webhook, "output_dir": str(out) if out else "",
        "reuse_within_s": reuse_within, "resend_ambiguous": resend_ambiguous,
        "fallback": fallback or [], "style_lock": style_lock,
        "max_cost_usd": max_cost_usd,
    }  # fmt: skip
    references = check_early(fields)
    if dry_run:
        show_price(fields, as_json=as_json)
        return
    with local_runs(len(fields["prompts"]) * samples, references) as runs:
        result = runs.batch(fields)
    finish(result, as_json=as_json)


def finish(result: dict[str, Any], *, as_json: bool) -> NoReturn:
    """Show how a run ended, for people or for programs, and leave with the code that says so."""
    if as_json:
        sys.stdout.write(json.dumps(result, ensure_ascii=False, indent=2) + "\n")
    else:
        show_closing(result, title=result["style_name"])
    code = exit_code(result)
    if code == INTERRUPTED:
        screen.print(STOPPED)
    raise typer.Exit(code)


def check_early(fields: dict[str, Any]) -> dict[str, str]:
    """Refuse what is plainly wrong before any service is started; the flow checks it all again.

    Not here, because only the Prefect server knows them: saved blocks. Returns what the run must
    find in its environment to read the references.
    """
    settings = Settings()
    lists = {name: tuple(fields[name]) for name in ("references", "fallback")}
    batch = checked_batch(**{**fields, **lists})
    asyncio.run(_check_looks(batch, settings))
    route_names(batch.provider, batch.model, batch.fallback)
    if "://" in batch.webhook:
        Guard.of(settings.webhook_private_hosts).check_url(batch.webhook)
    if batch.output_dir:
        check_output_folder(Path(batch.output_dir).expanduser().absolute())
    return own_references([*batch.references, *(r for row in batch.rows for r in row.references)])


async def _check_looks(batch: BatchRequest, settings: Settings) -> None:
    """Look up every style and read every file once; errors name the row."""
    rows = ((row.style_name or batch.style_name, row.references) for row in batch.rows)
    checked: set[str] = set()
    for number, (style, references) in enumerate([(batch.style_name, batch.references), *rows]):
        with about(number, "style_name"):
            if style not in checked:
                find_style(style, settings.styles_dir)
        with about(number, "references"):
            for path in _own_files(references):
                if str(path) not in checked:
                    await load_reference(str(path), [path.parent], guard=Guard())
        checked |= {style, *map(str, _own_files(references))}


@contextmanager
def local_runs(total: int, more: dict[str, str] | None = None) -> Iterator[LocalRuns]:
    """Find or start the services; runs started in the block move a live bar."""
    with busy("Looking for the local services …") as note:
        services = ensure_services(Settings(), say=say, progress=note)
    try:
        with live_bar(total) as moved:
            yield LocalRuns({**services.environment(), **(more or {})}, listener=moved, say=say)
    except KeyboardInterrupt:
        if doubt := asyncio.run(_in_doubt()):
            screen.print(doubt)
        raise


async def _in_doubt() -> str:
    """Say what was torn off when this process was made to stop at once, "" for nothing."""
    settings = Settings()
    if not ledger_exists(settings.ledger_url):
        return ""
    ledger = open_ledger(settings.ledger_url)
    try:
        lost = [each for each in await ledger.open_questions() if each.holder == holder()]
    finally:
        ledger.close()
    held = sum((each.reserved_usd for each in lost), Decimal(0))
    images = "1 image is" if len(lost) == 1 else f"{len(lost)} images are"
    told = f"[yellow]{images} in doubt, ${held} counted as spent[/]: `imagemill reconcile`"
    return told if lost else ""


def own_references(references: list[str]) -> dict[str, str]:
    """Whoever types a path here may read it: its folder is allowed for this run."""
    settings = Settings()
    folders = list(dict.fromkeys(str(path.parent) for path in _own_files(references)))
    roots = [*folders, *filter(None, [settings.reference_roots])]
    return {"IMAGEMILL_REFERENCE_ROOTS": os.pathsep.join(roots)} if folders else {}


def _own_files(references: Sequence[str]) -> list[Path]:
    return [Path(source).absolute() for source in references if "://" not in source]


def exit_code(result: dict[str, Any]) -> int:
    """Return 0 when all were made, 3 when some failed, 4 when all did, 130 when stopped."""
    if any(image.get("error_class") == RunStopped.error_class for image in result["results"]):
        return INTERRUPTED
    if not result["failure_count"]:
        return 0
    return SOME_FAILED if result["success_count"] else ALL_FAILED
