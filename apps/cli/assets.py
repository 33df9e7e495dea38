"""`imagemill assets`: make a pack of game assets here and now."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from apps.cli.batch import local_runs
from apps.cli.screen import ALL_FAILED, INTERRUPTED, SOME_FAILED, STOPPED, out, screen
from blocks.settings import Settings
from imagemill.errors import RequestError
from imagemill.netguard import Guard
from imagemill.pack.example import EXAMPLE
from imagemill.pack.order import Pack
from imagemill.pack.page import check_own_folder
from imagemill.pack.planning import order_of
from imagemill.pack.reading import MAX_BYTES, read_pack
from imagemill.routing import route_names
from imagemill.spool import check_output_folder


def assets(
    pack: Annotated[
        Path | None, typer.Argument(help="A pack's YAML file; '-' is standard input.")
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Write a pack to start from, and leave.")
    ] = False,
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
    judge: Annotated[
        str, typer.Option(help="auto, pixels (free), gemini, openai or KIND/BLOCK.")
    ] = "auto",
    refiner: Annotated[str, typer.Option(help="auto, rules (free), or as for the judge.")] = "auto",
    segmenter: Annotated[str, typer.Option(help="auto, none, u2netp or rembg:MODEL.")] = "auto",
    out_folder: Annotated[
        Path, typer.Option("--out", "-o", help="Where category/name.png and report.html go.")
    ] = Path("generated-assets"),
    target_score: Annotated[
        float | None, typer.Option(min=0, max=100, help="Default: what the pack says.")
    ] = None,
    max_iterations: Annotated[
        int | None, typer.Option(min=1, max=20, help="Default: what the pack says.")
    ] = None,
    max_redos: Annotated[int, typer.Option(min=0, max=10, help="Of a frame that drifts.")] = 2,
    max_concurrent: Annotated[
        int, typer.Option("--max-concurrent", "-c", min=1, max=100, help="Most at once.")
    ] = 3,
    max_cost_usd: Annotated[
        float | None, typer.Option("--max-cost-usd", min=0, help="Stop before it costs more.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Makes it repeatable.")] = None,
    store: Annotated[str, typer.Option(help="An Artifact Store block.")] = "default",
    webhook: Annotated[str, typer.Option(help="Address to tell when done.")] = "",
    reuse_within: Annotated[
        int, typer.Option(min=0, help="Seconds an equal picture counts as this one.")
    ] = 900,
    keep_intermediate: Annotated[
        bool, typer.Option("--keep-intermediate", help="Keep every iteration's picture.")
    ] = False,
    resend_ambiguous: Annotated[
        bool, typer.Option("--resend-ambiguous", help="Pay again where an answer was lost.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it comes to; send and pay nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result, and only it, to standard output.")
    ] = False,
) -> None:
    """Make a pack of game assets: judged, improved, cut out, animated, and shown on one page.

    Run the same command again after a crash or Ctrl-C: nothing is paid twice.

    [dim]imagemill assets --example && imagemill assets pack.yaml --provider sketch[/]
    """
    if example:
        _write_example(pack or Path("pack.yaml"))
        return
    text, name = _text(pack)
    ordered = read_pack(text, name=name)
    fields: dict[str, Any] = {
        "target_score": target_score, "max_iterations": max_iterations,
        "max_concurrent": max_concurrent, "max_cost_usd": max_cost_usd, "provider": provider,
        "model": model, "judge": judge, "refiner": refiner, "segmenter": segmenter,
        "store": store, "output_dir": str(out_folder.expanduser().absolute()),
        "keep_intermediate": keep_intermediate, "reuse_within_s": reuse_within,
        "webhook": webhook, "seed": seed, "resend_ambiguous": resend_ambiguous,
    }  # fmt: skip
    _check_early(ordered, fields)
    if dry_run:
        show_plan(ordered, fields, as_json=as_json)
        return
    with local_runs(ordered.pictures) as runs:
        result = runs.pack({"pack": text, "max_redos": max_redos, **fields})
    finish_assets(result, as_json=as_json)


def _write_example(place: Path) -> None:
    if place.exists():
        raise RequestError(
            f"{place} is there already.", remedy="Name another file: imagemill assets NEW --example"
        )
    place.write_text(EXAMPLE, "utf-8")
    screen.print(f"Wrote [bold]{escape(str(place))}[/]. Try it for nothing:")
    screen.print(f"  [bold cyan]imagemill assets {escape(str(place))} --provider sketch[/]")


def _text(pack: Path | None) -> tuple[str, str]:
    """Return the pack's text and what messages call it."""
    remedy = "`imagemill assets --example` writes a pack to start from."
    if pack is None:
        raise RequestError("Which pack?", remedy=remedy)
    if str(pack) == "-":
        return sys.stdin.read(MAX_BYTES + 1), "standard input"
    try:
        with pack.open(encoding="utf-8") as file:
            return file.read(MAX_BYTES + 1), str(pack)
    except UnicodeDecodeError:
        message = f"{pack} is not UTF-8 text."
    except OSError as error:
        message = f"{pack} cannot be read: {error.strerror}."
    raise RequestError(message, remedy=remedy)


def _check_early(pack: Pack, fields: dict[str, Any]) -> None:
    """Refuse what is plainly wrong before any service is started; the flow checks it all again."""
    order = order_of(pack, **fields)
    order.batch()
    route_names(order.provider, order.model, ())
    if "://" in order.webhook:
        Guard.of(Settings().webhook_private_hosts).check_url(order.webhook)
    check_output_folder(Path(order.output_dir))
    check_own_folder(order.output_dir, pack.pack)


def show_plan(pack: Pack, fields: dict[str, Any], *, as_json: bool) -> None:
    """Print what a pack comes to: pictures at least and at most, and their price."""
    from blocks.pricing import pack_price

    price = asyncio.run(pack_price(pack, order_of(pack, **fields), Settings()))
    if as_json:
        sys.stdout.write(price.model_dump_json(indent=2) + "\n")
        return
    out.print(
        f"[bold]{price.least_pictures} to {price.most_pictures} pictures[/] by "
        f"{escape(price.model)}: ${price.least_usd} to ${price.most_usd}"
    )
    screen.print(
        f"[dim]{price.assets} assets, {price.animations} animations. Judgements and refinements by "
        "a model come on top, by the tokens used; --max-cost-usd holds for all of it.[/]"
    )


def finish_assets(result: dict[str, Any], *, as_json: bool) -> None:
    """Show how assets or a pack ended, for people or for programs, and leave with the code for it."""
    if as_json:
        sys.stdout.write(json.dumps(result, ensure_ascii=False, indent=2) + "\n")
    else:
        screen.print(Panel(_card(result), title=f"[bold]{escape(result.get('pack', 'assets'))}", expand=False,
                           border_style="red" if result["failure_count"] else "green"))  # fmt: skip
        for name, path in _places(result):
            screen.print(f"  {name:14}{path}", soft_wrap=True, markup=False)
    code = exit_code(result)
    if code == INTERRUPTED:
        screen.print(STOPPED)
    raise typer.Exit(code)


def exit_code(result: dict[str, Any]) -> int:
    """Return 0 when all was made, 3 when some failed, 4 when all did, 130 when stopped."""
    if any(each.get("error", {}).get("reason") == "RunStopped" for each in result["results"]):
        return INTERRUPTED
    broken = any(film["status"] == "failed" for film in result.get("animations", []))
    if not result["failure_count"] and not broken:
        return 0
    return SOME_FAILED if result["success_count"] else ALL_FAILED


def _card(result: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    made = f"[bold]{result['success_count']}[/] of {result['total']} pictures"
    if result["from_cache_count"]:
        made += f", [cyan]{result['from_cache_count']} reused: paid before[/]"
    table.add_row("made", made)
    table.add_row("score", f"{result['passed_count']} reached {result['target_score']:g}, judged by "
                           f"{escape(result['judge'])}")  # fmt: skip
    if fit := result.get("consistency"):
        told = "too few to compare" if fit["score"] is None else f"{fit['score']:g} of 100"
        if fit["off_style"]:
            told += f", [red]off style: {escape(', '.join(fit['off_style']))}[/]"
        if fit["duplicates"]:
            pairs = ", ".join(" = ".join(pair) for pair in fit["duplicates"])
            told += f", [yellow]the same: {escape(pairs)}[/]"
        table.add_row("consistency", told)
    for film in result.get("animations", []):
        odd = (
            f", [red]still off: {[n + 1 for n in film['outliers']]}[/]" if film["outliers"] else ""
        )
        state = f"{film['frames']} frames, {len(film['redone'])} redone{odd}"
        table.add_row("animation", f"{escape(film['name'])}: {film['error'] or state}")
    summary = result["cost_summary"]
    table.add_row("cost", f"${summary['total_usd']}: {summary['images_generated']} pictures, "
                          f"{summary['vision_calls']} judgements, {summary['refine_calls']} "
                          "refinements")  # fmt: skip
    failed = [r for r in result["results"] if r["status"] == "failed"]
    for each in failed[:10]:
        table.add_row(
            "[red]not made[/]", escape(f"{each['requestId']}: {each['error']['message']}")
        )
    return table


def _places(result: dict[str, Any]) -> list[tuple[str, str]]:
    sheets = [("sprite sheet", film["sheet_path"]) for film in result.get("animations", [])]
    named = [("report", result.get("page_path")), ("contact sheet", result["contact_sheet_path"])]
    return [(name, path) for name, path in [*named, *sheets] if path]
