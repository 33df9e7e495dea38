"""What tests of local SDXL share: how they ask, and what the UI shows of the GPU."""

import asyncio
import json

import httpx


def drawn(sdxl, prompts, **fields):
    """Run the flow as a Python caller does."""
    from flows.sdxl import generate_by_sdxl

    return asyncio.run(generate_by_sdxl(prompts=prompts, provider=sdxl, **fields))


def mixed(words, count=30):
    """Rows whose styles take turns."""
    styles = ("Ultra Realistic", "Semi Realistic", "Anime")
    return [
        {"prompt": prompt, "style_name": styles[at % 3]} for at, prompt in enumerate(words(count))
    ]


def figures(mill, run_id):
    """Return the GPU's table of a run as the Prefect UI has it."""
    address = f"{mill.services.prefect_url}/artifacts/gpu-{run_id}/latest"
    rows = json.loads(httpx.get(address).raise_for_status().json()["data"])
    return {row["what"]: row["figure"] for row in rows}
