"""Names and ids of runs. Never a prompt in them."""

import re
from uuid import uuid4

from prefect.runtime import deployment, flow_run

_PREFECTS_OWN = re.compile(r"[A-Za-z]+-[A-Za-z]+")
"""`curious-otter`, `Licensed-Skunk`: what Prefect and its form call a run that nobody named."""


def run_id() -> str:
    """Return our id of this run: Prefect's, so that a retried flow run continues itself."""
    return str(flow_run.id) if flow_run.id else str(uuid4())


def deployment_name() -> str:
    """Return the name of the deployment that this run belongs to, "" outside of one."""
    return str(deployment.name or "") if deployment.id else ""


def batch_run_name() -> str:
    """Return `24 x Pixel Art by sketch`: what the run is about, in counts and names.

    A name that somebody typed into the form stays.
    """
    if (typed := str(flow_run.name or "")) and not _PREFECTS_OWN.fullmatch(typed):
        return typed
    given = flow_run.parameters or {}
    prompts = given.get("prompts")
    count = len(prompts) if isinstance(prompts, list | tuple) else 0
    count *= samples if isinstance(samples := given.get("samples"), int) else 1
    style, provider = (str(given.get(name, ""))[:40] for name in ("style_name", "provider"))
    if count and any(isinstance(each, dict) and each.get("style_name") for each in prompts or ()):
        style = "several styles"
    return f"{count} x {style} by {provider}"


def assets_run_name() -> str:
    """Return `12 assets by gemini`; a name that somebody typed into the form stays."""
    if (typed := str(flow_run.name or "")) and not _PREFECTS_OWN.fullmatch(typed):
        return typed
    given = flow_run.parameters or {}
    requests = given.get("requests")
    count = len(requests) if isinstance(requests, list | tuple) else 0
    return f"{count} assets by {str(given.get('provider', ''))[:40]}"


def pack_run_name() -> str:
    """Return `pack by sketch` or `animation by gemini`; a name that somebody typed stays."""
    if (typed := str(flow_run.name or "")) and not _PREFECTS_OWN.fullmatch(typed):
        return typed
    given = flow_run.parameters or {}
    what = "animation" if "request" in given else "pack"
    return f"{what} by {str(given.get('provider', ''))[:40]}"
