"""The local services: `imagemill up`, `down`, `status`, `doctor`."""

import asyncio
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from apps.cli.screen import OTHER_TROUBLE, busy, say, screen
from apps.services.addresses import Services
from apps.services.gpus import GpuPlan, plan_gpus
from apps.services.lifecycle import down as stop_services
from apps.services.lifecycle import status as service_rows
from apps.services.ports import PortPlan
from apps.services.supervisor import up as run_services
from apps.services.supervisor import up_detached
from blocks.settings import Settings

if TYPE_CHECKING:
    from apps.finding import Finding

Port = Annotated[int | None, typer.Option(min=1, max=65_535, help="Instead of the usual one.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs, to standard output.")]


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Start, then give the prompt back.")
    ] = False,
    any_port: Annotated[
        bool, typer.Option("--any-port", help="Take a free port where the usual one is taken.")
    ] = False,
    prefect_port: Port = None,
    s3_port: Port = None,
    gateway_port: Port = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Also a worker for each GPU, and the warm lane.")
    ] = False,
    warm_lane: Annotated[
        str,
        typer.Option(help="GPU that is the warm lane's alone (nvidia-smi's number), or none."),
    ] = "",
) -> None:
    """Start Prefect, object store, gateway and a worker, and put the deployments up.

    Stays in the foreground and stops everything on Ctrl-C; with --detach it leaves them running
    until `imagemill down`. With --gpu it adds local SDXL (docs/sdxl.md) to what runs: one worker for
    each GPU that nvidia-smi and CUDA_VISIBLE_DEVICES show, and the warm lane for single images,
    which shares the first GPU unless --warm-lane says otherwise.
    """
    plan = PortPlan(
        prefect=prefect_port, object_store=s3_port, gateway=gateway_port, any_port=any_port
    )
    settings = Settings()
    gpus = plan_gpus(settings, warm_lane=warm_lane) if gpu or warm_lane else GpuPlan()

    def ready(services: Services) -> None:
        screen.print(_addresses(services, gpus, stop="imagemill down" if detach else "Ctrl-C"))
        if gpus.workers:
            _say_what_sdxl_lacks(settings, services)

    with busy("Starting …") as note:
        if detach:
            ready(up_detached(settings, say=say, progress=note, ports=plan, gpus=gpus))
            return
        run_services(settings, say=say, progress=note, ports=plan, gpus=gpus, on_ready=ready)


def _say_what_sdxl_lacks(settings: Settings, services: Services) -> None:
    from apps.gpu_checkup import sdxl_lacks

    if lack := sdxl_lacks(settings, services.prefect_url):
        say(f"{lack.message} {lack.remedy}")


def _addresses(services: Services, gpus: GpuPlan, *, stop: str) -> Panel:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Prefect UI", f"[link]{services.ui_url}/v2[/link]")
    table.add_row(
        "form", f"{services.ui_url}/v2/deployments → generate-images-batch/on-demand → Run"
    )
    if gpus.workers:
        table.add_row("", "or → sdxl/default → Run, drawn by a GPU worker")
    table.add_row("object store", f"{services.object_store_url} (bucket {services.bucket or '-'})")
    table.add_row("gateway", services.gateway_url)
    for one in gpus.workers:
        table.add_row(f"GPU worker {one.number}", escape(one.name))
    if gpus.lane:
        alone = gpus.lane not in gpus.workers
        where = "of its own" if alone else f"shared with GPU worker {gpus.lane.number}"
        table.add_row("warm lane", escape(f"{gpus.lane.name}, {where}"))
    table.add_row("home", escape(str(services.home)))
    table.add_row("stop", stop)
    return Panel(table, title="[bold]imagemill is up", border_style="green", expand=False)


def down() -> None:
    """Stop every local service that imagemill started. Data stays where it is."""
    with busy("Stopping …") as note:
        stopped = stop_services(Settings(), say=say, progress=note)
    screen.print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


def status(as_json: AsJson = False) -> None:
    """Show each local service: state, address, process, memory."""
    if as_json:
        rows = [dataclasses.asdict(row) for row in service_rows(Settings())]
        sys.stdout.write(json.dumps(rows, indent=2, default=str) + "\n")
        return
    table = Table("service", "state", "address", "pid", "MB", "note", box=None)
    colours = {"running": "green", "external": "cyan", "stale": "red", "starting": "yellow"}
    for row in service_rows(Settings()):
        state = f"[{colours.get(row.state, 'dim')}]{row.state}[/]"
        memory = f"{row.memory_bytes / 1e6:.0f}" if row.memory_bytes else ""
        table.add_row(
            row.name, state, row.url, str(row.pid or ""), memory, escape(row.note or row.device)
        )
    screen.print(table)


def doctor(
    free: Annotated[
        bool, typer.Option("--free", help="Settle and free what dead processes left behind.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine: home, ledger, object store, Prefect, key; each with its remedy.

    It also finds what dead processes left: reservations still open, runs still marked running,
    slots of Prefect's limits that nobody holds. With --free these are put in order, and it says
    what it did: an answer that lies in the spool is charged, any other is ambiguous (`imagemill
    reconcile`), runs are marked crashed so that the same batch continues them, slots are released.
    Runs of deployments that no worker takes are shown, too.
    What a living process holds is never touched; one on another machine counts as dead when it has
    been silent for its lease (30 s; a run 60 s).
    """
    from apps.checkup import checkup

    if free:
        asyncio.run(_freed(Settings()))
    findings = checkup(Settings())
    if as_json:
        rows = [dataclasses.asdict(finding) for finding in findings]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        screen.print(_finding_table(findings))
    if any(finding.level == "bad" for finding in findings):
        raise typer.Exit(OTHER_TROUBLE)


def _finding_table(findings: "list[Finding]") -> Table:
    table = Table("", "what", "found", "what to do", box=None)
    marks = {"ok": "[green]✓[/]", "note": "[yellow]·[/]", "bad": "[red]✗[/]"}
    for finding in findings:
        table.add_row(
            marks[finding.level], finding.what, escape(finding.found), escape(finding.remedy)
        )
    return table


async def _freed(settings: Settings) -> None:
    from apps.leftovers import free_leftovers

    lines = 0
    async for line in free_leftovers(settings):
        lines += 1
        screen.print(f"[green]freed[/] {escape(line)}")
    if not lines:
        screen.print("There was nothing to free.")
