"""The command line: `imagemill`. Translates words into calls and results into pictures of text."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from apps.cli import assets, batch, budget, demo, reconcile, resume, route, sdxl, shelf, webhooks
from apps.cli import services as local_services
from apps.cli.screen import guarded


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"imagemill {version('imagemill')}\n")
        raise typer.Exit


app = typer.Typer(
    name="imagemill",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Turn prompts into images: each paid for once, stored in S3, shown, announced.\n\n"
    "Start with [bold]imagemill demo[/bold] (no key, no GPU), look around with "
    "[bold]imagemill up[/bold], then run [bold]imagemill batch[/bold].",
    epilog="Exit codes: 0 all images made, 3 some failed, 4 all failed, 2 wrong usage, 1 other trouble, "
    "130 stopped by Ctrl-C.",
)


@app.callback()
def program(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and leave."),
    ] = False,
) -> None:
    """What holds for every command."""


app.command("batch")(guarded(batch.batch))
app.command("sdxl")(guarded(sdxl.sdxl))
app.command("assets")(guarded(assets.assets))
app.command("runs")(guarded(resume.runs))
app.command("resume")(guarded(resume.resume))
app.command("retry")(guarded(resume.retry))
app.command("budget")(guarded(budget.budget))
app.command("demo")(guarded(demo.demo))
app.command("styles")(guarded(shelf.styles))
app.command("models")(guarded(shelf.models))
app.command("estimate")(guarded(shelf.estimate))
app.command("route")(guarded(route.route))
app.command("reconcile")(guarded(reconcile.reconcile))
app.command("up")(guarded(local_services.up))
app.command("down")(guarded(local_services.down))
app.command("status")(guarded(local_services.status))
app.command("doctor")(guarded(local_services.doctor))
app.add_typer(webhooks.app, name="webhooks")


def main() -> None:
    """Run the command line."""
    app()
