"""`imagemill route`: a text in any language becomes a prompt."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from apps.cli.batch import local_runs
from apps.cli.screen import out, screen
from imagemill.style_router.desk import checked_route


def route(
    text: Annotated[str, typer.Argument(help="What happens, in any language; - reads it.")],
    wishes: Annotated[
        str, typer.Option("--wishes", "-w", help="What the person wishes for the picture.")
    ] = "",
    words: Annotated[
        str, typer.Option(help="Who finds the keywords: auto, rules (free), gemini, openai.")
    ] = "auto",
    max_cost_usd: Annotated[
        float | None, typer.Option("--max-cost-usd", min=0, help="Most that this may cost.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print only the result, to standard output.")
    ] = False,
) -> None:
    """Make a prompt of a text: keywords, a look (realistic, anime, illustration), no writing in it.

    [dim]imagemill route "눈 내리는 숲에서 작은 여우가 달을 바라봐요" --wishes "그림책처럼"[/]
    """
    said = sys.stdin.read() if text == "-" else text
    fields: dict[str, Any] = {
        "text": said, "user_input": wishes, "words": words, "max_cost_usd": max_cost_usd,
    }  # fmt: skip
    checked_route(**fields)
    with local_runs(0) as runs:
        routed = runs.route(fields)
    if as_json:
        sys.stdout.write(json.dumps(routed, ensure_ascii=False, indent=2) + "\n")
        return
    out.print(escape(routed["prompt"]), soft_wrap=True)
    screen.print(_card(routed))


def _card(routed: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("look", f"{routed['branch']} ({escape(routed['style_name'])})")
    table.add_row("keywords", escape(", ".join(routed["keywords"]) or "none known"))
    table.add_row("avoid", escape(routed["negative_prompt"]))
    table.add_row("found by", f"{escape(routed['by'])}, ${routed['cost_usd']}")
    if routed["note"]:
        table.add_row("note", escape(routed["note"]))
    return table
