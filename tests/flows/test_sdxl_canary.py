"""The words of a prompt appear in no log, name, event or exception of local SDXL either (T6)."""

from tests.flows.sdxl import drawn
from tests.flows.test_canary import (
    CANARY,
    PROMPT,
    everything,  # noqa: F401 - a fixture
    service_logs,
    silent,
    told_to_the_server,
    whole,
)


def test_neither_torch_nor_transformers_tell_a_prompt(mill, sdxl, everything, capfd):  # noqa: F811
    """Long words, weights, a LoRA that is not there, and a GPU that fails in the middle."""
    from imagemill.errors import ImagemillError
    from imagemill.providers.sdxl.engines import running_engines

    prompts = [f"{PROMPT} {n}, ({CANARY}:1.3) " + f"{CANARY} and more, " * 40 for n in range(3)]
    first = drawn(sdxl, prompts[:2])
    assert first["success_count"] == 2
    try:
        drawn(sdxl, prompts, loras=["lace"])
    except ImagemillError as refused:
        silent(whole(refused), "the refusal")

    def broken(_group):
        raise RuntimeError(prompts[2])  # what a library might say

    [engine] = running_engines()
    engine._weights.drawer_for = broken
    failed = drawn(sdxl, prompts[2:])
    [image] = failed["results"]
    assert image["error_class"] == "provider"
    silent(image["error"], "the failed image")
    silent("\n".join(everything.lines), "the log")
    for run in (first, failed):
        silent(told_to_the_server(run["run_id"], tasks_told=3), "Prefect")
    silent(service_logs(mill), "the services' logs")
    printed = capfd.readouterr()
    silent(printed.out + printed.err, "the screen")
