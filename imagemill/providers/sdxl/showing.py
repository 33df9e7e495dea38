"""An engine's report for people: a table of figures, and a line for the call under way."""

from imagemill.providers.sdxl.tally import EngineReport


def table(report: EngineReport) -> list[dict[str, str]]:
    """Return rows of `what` and `figure`."""
    rows = [
        ("device", report.device),
        ("images drawn", f"{report.images:,} by {report.calls:,} calls"),
        ("places of buckets left empty", f"{report.padding:,}"),
        ("checkpoints read from disk", _loads(report)),
        ("checkpoints swapped in place", f"{report.swaps:,}"),
        ("checkpoints freed", f"{report.releases:,}, {report.leaks} modules still held"),
        ("taken back to a smaller bucket", f"{report.out_of_memory:,}"),
        ("memory in use", _memory(report.vram_gb, report)),
        ("most memory in use", _memory(report.vram_peak_gb, report)),
        ("resident", ", ".join(report.resident) or "none"),
        *((f"seconds: {name}", f"{took:,.2f}") for name, took in sorted(report.seconds.items())),
    ]
    return [{"what": what, "figure": figure} for what, figure in rows]


def progress(report: EngineReport) -> tuple[float, str]:
    """Return the share of the call under way that is done, 0 to 100, and a line about it."""
    if not report.steps:
        return 0.0, f"idle; {report.images:,} drawn, {report.waiting:,} waiting"
    memory = f", {report.vram_gb:.1f} GB" if report.vram_total_gb else ""
    words = (
        f"step {report.step} of {report.steps}{memory}; {report.images:,} drawn, "
        f"{report.waiting:,} waiting, {report.swaps:,} swaps"
    )
    return 100.0 * report.step / report.steps, words


def _loads(report: EngineReport) -> str:
    return ", ".join(f"{name} {count} x" for name, count in sorted(report.loads.items())) or "none"


def _memory(gb: float, report: EngineReport) -> str:
    if not report.vram_total_gb:
        return "not on a GPU"
    return f"{gb:.2f} of {report.vram_total_gb:.1f} GB"
