"""`imagemill demo`: the main job end to end, without a key, a GPU or a question."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from apps.cli.screen import busy, failure_table, live_bar, own_command, say, screen
from apps.receiver import Receiver
from apps.runs import LocalRuns, save_demo_block
from apps.services.addresses import Services
from apps.services.ensure import ensure_services
from blocks.settings import Settings, local_secrets
from imagemill.artifact import text_digest
from imagemill.catalog import load_catalog
from imagemill.contact_sheet import contact_sheet
from imagemill.credits import provider_label
from imagemill.gallery import gallery_page
from imagemill.prompt import find_style
from imagemill.request import BatchResult, ImageResult
from imagemill.spool import write_durably
from imagemill.workshop import Progress

PROMPTS = {
    "Flat Corporate": (
        "a red fox in the snow", "a lighthouse at night", "a hot air balloon over mountains",
        "three blue birds on a tree", "a sailing boat at sunset", "a rocket flying to the moon",
        "a cup of coffee and an open book", "a city skyline under rain",
    ),
    "Pixel Art": (
        "a castle on a hill at dawn", "a knight with a golden shield", "a green potion",
        "a treasure chest", "a red mushroom in the forest", "a robot in the desert",
        "an owl at night under the moon", "a pirate ship on the sea",
    ),
    "Watercolor": (
        "a white rabbit in a flower meadow", "a bridge over a river in autumn",
        "an orange cat by the window", "a whale in the deep sea", "a cactus in the desert at sunset",
        "a bicycle beside a house", "a penguin on the ice", "a volcano on an island",
    ),
}  # fmt: skip
UNAVAILABLE = ("a sailing boat at sunset", "a robot in the desert")
RATE_LIMITED = ("a whale in the deep sea",)
BLOCKED = ("a treasure chest",)
"""What the demo breaks on purpose: two 503s and a 429 that go away, one refusal that does not."""

REUSE_FOR_S = 30 * 24 * 3600


def demo(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where the pictures go.")] = None,
) -> None:
    """Make 24 images in three styles by the embedded sketch provider, with failures on purpose.

    Needs no key and no GPU. Run it twice: the second run reuses what is paid already.
    """
    settings = Settings()
    folder = (out or settings.home / "demo").absolute()
    screen.print(
        "[bold]imagemill demo[/]: 24 prompts, 3 styles, drawn by [bold]sketch[/] "
        "(procedural drawings, not a diffusion model), 4 failures injected on purpose."
    )
    with busy("Looking for the local services …") as note:
        services = ensure_services(settings, say=say, progress=note)
    secret = local_secrets(settings.home)["webhook_secret"]
    with Receiver(secret, log_path=folder / "webhooks.jsonl") as receiver:
        results = _run_all(services, receiver, folder)
        verified = len(receiver.wait_for(len(results), timeout_s=5))
    _close(results, folder, settings, services, verified=verified)


def _run_all(services: Services, receiver: Receiver, folder: Path) -> list[dict[str, Any]]:
    environment = {
        **services.environment(), "IMAGEMILL_WEBHOOK_PRIVATE_HOSTS": receiver.private_host,
    }  # fmt: skip
    results = []
    with live_bar(sum(len(words) for words in PROMPTS.values())) as moved:
        adding = _Adding(moved)
        runs = LocalRuns(environment, listener=adding, say=say)
        save_demo_block(
            unavailable_once=_digests(UNAVAILABLE),
            rate_limited_once=_digests(RATE_LIMITED),
            blocked=_digests(BLOCKED),
        )
        for style, prompts in PROMPTS.items():
            place = folder / style.lower().replace(" ", "-")
            fields = {
                "prompts": list(prompts), "style_name": style, "provider": "sketch/demo",
                "max_concurrent": 3, "size": "512", "seed": 7, "webhook": receiver.url,
                "output_dir": str(place), "reuse_within_s": REUSE_FOR_S,
            }  # fmt: skip
            results.append(runs.batch(fields))
            adding.next_batch()
    return results


class _Adding:
    """Adds the batches' progress into one bar."""

    def __init__(self, moved: Any) -> None:  # noqa: ANN401 - a callable of Progress
        self._moved = moved
        self._before = Progress(0, 0, 0, 0, 0)
        self._now = self._before

    def __call__(self, progress: Progress) -> None:
        before = self._before
        self._now = Progress(
            total=progress.total,
            completed=before.completed + progress.completed,
            succeeded=before.succeeded + progress.succeeded,
            failed=before.failed + progress.failed,
            reused=before.reused + progress.reused,
        )
        self._moved(self._now)

    def next_batch(self) -> None:
        self._before = self._now


def _digests(words: tuple[str, ...]) -> list[str]:
    """Return the digests of the rendered prompts, in whichever style they appear."""
    return [
        text_digest(find_style(style).render(prompt))
        for style, prompts in PROMPTS.items()
        for prompt in prompts
        if prompt in words
    ]


def _close(
    results: list[dict[str, Any]],
    folder: Path,
    settings: Settings,
    services: Services,
    *,
    verified: int,
) -> None:
    """Put all three batches on one sheet and one page, and say where everything is."""
    together = _together(results)
    label = provider_label(together.provider, together.model)
    sheet = contact_sheet(together.results, title="imagemill demo", label=label)
    write_durably(folder / "contact-sheet.png", sheet)
    write_durably(folder / "gallery.html", gallery_page(together).encode())
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("images", _counts(together))
    table.add_row("cost", _cost(together, settings))
    table.add_row("webhooks", f"{verified} received, signature verified ({folder}/webhooks.jsonl)")
    table.add_row("contact sheet", str(folder / "contact-sheet.png"))
    table.add_row("gallery", str(folder / "gallery.html"))
    table.add_row("pictures", str(folder))
    table.add_row("in S3", f"{services.object_store_url}/{services.bucket}")
    table.add_row("in Prefect", f"{services.ui_url}/v2/runs")
    screen.print(Panel(table, title="[bold]Done", border_style="green", expand=False))
    if failures := failure_table(
        {"results": [r.model_dump(mode="json") for r in together.results]}
    ):
        screen.print(failures)
    me = escape(own_command())
    screen.print(
        "\n[bold]Next:[/] run it again (nothing is paid twice), then the form in the browser:\n"
        f"  [bold cyan]{me} up[/]    "
        f'[dim]or[/]  [bold cyan]{me} batch "your words" --provider sketch[/]\n'
        f"[dim]The services stay up for the next command; `{me} down` stops them.[/]"
    )


def _counts(result: BatchResult) -> str:
    parts = [f"[bold]{result.success_count}[/] of {result.total} made"]
    if result.reused_count:
        parts.append(f"[cyan]{result.reused_count} of them reused: paid before, not again[/]")
    if result.retried_count:
        parts.append(f"{result.retried_count} after a retry")
    if result.failure_count:
        parts.append(f"[red]{result.failure_count} refused by the filter[/] (on purpose)")
    return ", ".join(parts)


def _cost(result: BatchResult, settings: Settings) -> str:
    catalog = load_catalog(settings.catalog_file)
    name = catalog.named("gemini")[0]
    model = catalog.find(name, provider="gemini")
    price = model.flat_usd("1K")
    line = f"${result.cost_usd} (sketch is free)"
    if price is None:
        return line
    dear = price * result.success_count
    return f"{line}; {result.success_count} images by {escape(name)} would be ${dear:.2f}"


def _together(results: list[dict[str, Any]]) -> BatchResult:
    images = [
        ImageResult.model_validate(image) for result in results for image in result["results"]
    ]
    numbered = tuple(image.model_copy(update={"index": n}) for n, image in enumerate(images))
    first = results[0]
    return BatchResult.of(
        "demo", numbered, provider=first["provider"], model=first["model"],
        style_name=", ".join(result["style_name"] for result in results),
        seconds=sum(result["seconds"] for result in results),
    )  # fmt: skip
