"""Runs every comparison against the fake Gemini and a real S3 server, and prints one table.

Peers take turns in the same run (A B A B), so a drifting machine harms both; medians are shown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from apps.services.ensure import ensure_services
from apps.services.lifecycle import down
from blocks.settings import Settings, local_secrets

out = Console(highlight=False, width=110)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the raw figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home")
        services = ensure_services(settings, say=out.print)
        try:
            figures = measure(settings, services, rounds=options.rounds)
        finally:
            down(settings, say=lambda _line: None)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def measure(settings, services, *, rounds):
    secrets = local_secrets(settings.home)
    shared = {
        **os.environ, **services.environment(),
        "AWS_ACCESS_KEY_ID": secrets["s3_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": secrets["s3_secret_access_key"],
        "BENCH_S3": services.object_store_url, "BENCH_BUCKET": services.bucket,
        "GOOGLE_API_KEY": "k",
    }  # fmt: skip
    figures = {}
    with fake(latency_s=1.0) as url:
        env = {**shared, "BENCH_GEMINI": url, "GOOGLE_GEMINI_BASE_URL": url}
        figures["five_in_turn"] = [run("ours", 5, 1, env) for _ in range(rounds)]
        figures["five_by_three"] = [run("ours", 5, 3, env) for _ in range(rounds)]
        pairs = [(run("plain", 200, 20, env), run("ours", 200, 20, env)) for _ in range(rounds)]
        figures["plain_200"], figures["ours_200"] = map(list, zip(*pairs, strict=True))
    with fake(latency_s=0.0) as url:
        env = {**shared, "BENCH_GEMINI": url, "GOOGLE_GEMINI_BASE_URL": url}
        for count in (200, 2000):
            figures[f"plain_fast_{count}"] = [run("plain", count, 20, env)]
            figures[f"ours_fast_{count}"] = [run("ours", count, 20, env)]
    return figures


def run(which, images, concurrent, env):
    """One measured process; its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{which}", str(images), str(concurrent)],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"bench.{which} failed:\n{done.stderr[-2000:]}")
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    if figures["made"] != images:
        raise SystemExit(f"bench.{which} made {figures['made']} of {images}")
    out.print(f"  {which} {images} x {concurrent}: {figures}", style="dim")
    return figures


@contextmanager
def fake(*, latency_s):
    """A fake Gemini in its own process."""
    command = [sys.executable, "-m", "tests.wire.gemini", "--port", "0",
               "--latency", str(latency_s), "--size", "64"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def middle(rows, name):
    return statistics.median(row[name] for row in rows)


def show(figures):
    table = Table("what", "plain", "imagemill", "ratio", "target")

    def row(what, plain, ours, ratio, target):
        table.add_row(what, plain, ours, ratio, target)

    turn, three = (middle(figures[n], "clock_s") for n in ("five_in_turn", "five_by_three"))
    row("5 images, 1 s each, three at once / in turn (batch clock)", "", f"{three:.2f} / {turn:.2f} s",
        f"{three / turn:.3f}", "≤ 0.42")  # fmt: skip
    walls = [middle(figures[n], "wall_s") for n in ("five_in_turn", "five_by_three")]
    row("  the same, whole flow call", "", f"{walls[1]:.2f} / {walls[0]:.2f} s",
        f"{walls[1] / walls[0]:.3f}", "shown")  # fmt: skip
    plain, body = middle(figures["plain_200"], "wall_s"), middle(figures["ours_200"], "body_s")
    ratios = [o["body_s"] / p["wall_s"] for p, o in
              zip(figures["plain_200"], figures["ours_200"], strict=True)]  # fmt: skip
    row("200 images, 20 at once, 1 s each (flow body)", f"{plain:.2f} s", f"{body:.2f} s",
        f"{statistics.median(ratios):.3f}", "≤ 1.10")  # fmt: skip
    clock = middle(figures["ours_200"], "clock_s")
    row("  first request to last image stored", f"{plain:.2f} s", f"{clock:.2f} s",
        f"{clock / plain:.3f}", "shown")  # fmt: skip
    for count in (200, 2000):
        plain, ours = figures[f"plain_fast_{count}"][0], figures[f"ours_fast_{count}"][0]
        row(f"{count} images, no latency: images/s", f"{count / plain['wall_s']:.0f}",
            f"{count / ours['body_s']:.0f}", f"{ours['body_s'] / plain['wall_s']:.2f} x wall",
            "shown")  # fmt: skip
        row("  Prefect server calls an image", "0", f"{ours['server_calls'] / count:.3f}", "",
            "shown")  # fmt: skip
    small, big = figures["ours_fast_200"][0], figures["ours_fast_2000"][0]
    plain = figures["plain_fast_2000"][0]["rss_mb"] - figures["plain_fast_200"][0]["rss_mb"]
    row("peak RSS, 2,000 against 200 images", f"+{plain:.0f} MB",
        f"+{big['rss_mb'] - small['rss_mb']:.0f} MB ({small['rss_mb']:.0f} → {big['rss_mb']:.0f})",
        "", "< 60 MB")  # fmt: skip
    out.print(table)


if __name__ == "__main__":
    main()
