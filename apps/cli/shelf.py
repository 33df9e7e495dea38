"""What there is to choose from: `imagemill styles`, `models`, `estimate`."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from apps.cli.prompts import read_prompts
from apps.cli.screen import out, screen
from blocks.settings import Settings
from imagemill.catalog import load_catalog, retirement_warning
from imagemill.cost import Estimate, estimate_in_words
from imagemill.planning import checked_batch
from imagemill.prompt import shelf
from imagemill.request import BatchRequest


def styles(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the styles on the shelf. Add your own as *.toml in IMAGEMILL_STYLES_DIR."""
    found = shelf(Settings().styles_dir)
    if as_json:
        rows = [style.model_dump() for style in found.values()]
        sys.stdout.write(json.dumps(rows, ensure_ascii=False, indent=2) + "\n")
        return
    table = Table("style", "palette", "what it is", box=None)
    for style in found.values():
        patches = "".join(f"[on {colour}]  [/]" for colour in style.palette)
        table.add_row(f"[bold]{escape(style.name)}[/]", patches, escape(style.description))
    out.print(table)


def models(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show every hosted model: price an image, sizes, when it retires, and when that was read."""
    catalog, today = load_catalog(Settings().catalog_file), datetime.now(UTC).date()
    rows = [model for model in catalog.models.values() if model.kind == "image"]
    if as_json:
        data = [model.model_dump(mode="json") for model in rows]
        sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2) + "\n")
        return
    table = Table(box=None, caption="~ an estimate: not published", caption_justify="left")
    for name, fixed in (("model", True), ("USD an image", False), ("price read", True)):
        table.add_column(name, no_wrap=fixed)
    table.add_column("note", overflow="fold")
    table.add_row("[bold]sketch-1[/]", "0", "—", "embedded procedural drawings, no key")
    for model in sorted(rows, key=lambda m: (m.retires_on is not None, m.name)):
        prices = ", ".join(
            f"{size} {'~' if price.estimated else ''}{model.flat_usd(size)}"
            for size, price in model.sizes.items()
        )
        note = retirement_warning(model, today) or ""
        table.add_row(f"[bold]{escape(model.name)}[/]", prices, str(model.read_on), escape(note))
    out.print(table)


def estimate(
    prompts: Annotated[list[str] | None, typer.Argument(help="One prompt an image.")] = None,
    prompts_file: Annotated[
        Path | None, typer.Option("--prompts-file", "-f", help="A prompt a line.")
    ] = None,
    style: Annotated[str, typer.Option("--style", "-s")] = "Flat Corporate",
    provider: Annotated[
        str, typer.Option("--provider", "-p", envvar="IMAGEMILL_PROVIDER")
    ] = "gemini",
    model: Annotated[str, typer.Option(help="See `imagemill models`.")] = "",
    aspect_ratio: Annotated[str, typer.Option("--aspect-ratio", "-r")] = "1:1",
    size: Annotated[str, typer.Option(help="256, 512, 1K, 2K or 4K.")] = "",
    samples: Annotated[int, typer.Option(min=1, max=16)] = 1,
    fallback: Annotated[
        list[str] | None, typer.Option("--fallback", help="NAME or NAME:MODEL; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Price a batch without sending anything: least, most, and when the price was read.

    What the ledger knows as paid is left out, as `imagemill batch` would reuse it.
    """
    fields = {
        "prompts": [*(prompts or []), *read_prompts(prompts_file)], "style_name": style,
        "provider": provider, "model": model, "aspect_ratio": aspect_ratio, "size": size,
        "samples": samples, "fallback": fallback or [],
    }  # fmt: skip
    show_price(fields, as_json=as_json)


def show_price(fields: dict[str, Any], *, as_json: bool) -> None:
    """Print what a batch would cost, and what of it is paid already."""
    batch = checked_batch(**fields)
    found = asyncio.run(_priced(batch))
    if as_json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
        return
    price, *notes = estimate_in_words(found, max_cost_usd=batch.max_cost_usd)
    out.print(f"[bold]{escape(price)}[/]")
    for note in notes:
        screen.print(f"[yellow]{escape(note)}[/]")


async def _priced(batch: BatchRequest) -> Estimate:
    from blocks.workshop import priced

    return await priced(batch)
