"""The asset flow tells no log, name, event or exception what an asset is to show (T6)."""

import pytest

from imagemill.errors import ImagemillError
from tests.asset.builders import opinion
from tests.flows.assets import GUIDE, make
from tests.flows.test_canary import (
    CANARY,
    PROMPT,
    everything,  # noqa: F401 - a fixture
    service_logs,
    silent,
    told_to_the_server,
    whole,
)

DESCRIPTION = f"{PROMPT} {{n}}"


def asset(n: int, **changes) -> dict:
    return {
        "id": f"a{n}", "name": f"n{n}", "description": DESCRIPTION.format(n=n),
        "purpose": f"to sing, {CANARY}", "size": {"width": 64, "height": 64}, **changes,
    }  # fmt: skip


def writer(body) -> str:
    """Judge and refiner repeat what they were told, as models do."""
    parts = body["contents"][0]["parts"]
    if any("inlineData" in part for part in parts):
        return opinion(60, f"Give the {CANARY} more room.")
    return f"Draw {PROMPT} once more, with a {CANARY} that has more room around it."


def test_no_log_name_or_event_holds_a_description(mill, receiver, everything, capfd, tmp_path):  # noqa: F811
    """Assets with a failure of each kind: blocked, lost, unparsable; judged, refined, announced."""
    mill.fake.script(
        writer=writer,
        faults=[
            {"kind": "prompt_blocked", "prompt": f"SUBJECT: {DESCRIPTION.format(n=1)}\n"},
            {"kind": "drop", "prompt": f"SUBJECT: {DESCRIPTION.format(n=2)}\n"},
            {"kind": "text_only", "prompt": f"ASSET: {DESCRIPTION.format(n=3)}\n", "times": 2},
            {"kind": "bad_request", "prompt": f"ASSET: {DESCRIPTION.format(n=4)}\n"},
            {"kind": "prompt_blocked", "prompt": "ORIGINAL PROMPT", "times": 1},
            {"kind": "drop", "prompt": "ORIGINAL PROMPT", "times": 1},
        ],
    )
    answer = make(
        [asset(n) for n in range(1, 8)], style_guide={**GUIDE, "mood": f"sad {CANARY}"},
        max_iterations=2, webhook=receiver.url, output_dir=str(tmp_path), max_concurrent=4,
    )  # fmt: skip
    states = [result["state"] for result in answer["results"]]
    assert states == ["failed", "ambiguous", *["made"] * 5]
    printed = capfd.readouterr()
    assert len(everything.lines) > 200
    silent("\n".join(everything.lines), "a log")
    silent(printed.out + printed.err, "the terminal")
    silent("\n".join(str(result.get("error")) for result in answer["results"]), "an error")
    silent(told_to_the_server(answer["run_id"], tasks_told=30), "the Prefect server")
    silent(service_logs(mill), "a service's log")
    ((body,),) = mill.rows("SELECT body FROM outbox")
    silent(body, "the webhook")


REFUSED = [
    {"requests": [asset(1, size=PROMPT)]},
    {"requests": [asset(1, description=PROMPT * 400)]},
    {"requests": [asset(1, name=f"../{PROMPT}")]},
    {"requests": [asset(1, parameters={CANARY: PROMPT})]},
    {"requests": [{**asset(1), CANARY: 1}]},
    {"requests": [PROMPT]},
    {"requests": {PROMPT: 1}},
    {"requests": PROMPT},
    {"requests": [asset(1), asset(1)]},
    {"requests": [asset(1)], "style_guide": {"artStyle": PROMPT}},
    {"requests": [asset(1)], "style_guide": {CANARY: PROMPT}},
    {"requests": [asset(1)], "style_guide": PROMPT},
    {"requests": [asset(1)], "target_score": PROMPT},
    {"requests": [asset(1)], "max_iterations": 10_000},
    {"requests": [asset(1)], "seed": PROMPT},
    {"requests": [asset(1)], "judge": "nobody"},
    {"requests": [asset(1)], "segmenter": "u2netp"},
    {"requests": [asset(1)], "output_dir": "/dev/null/out"},
]


@pytest.mark.parametrize("fields", REFUSED, ids=lambda fields: "-".join(sorted(fields)))
def test_no_refusal_at_the_door_holds_a_description(mill, everything, capfd, fields):  # noqa: F811
    """Each is refused in our words, before anything is sent or written."""
    with pytest.raises(ImagemillError) as refused:
        make(**fields)
    silent(whole(refused.value), f"the exception for {sorted(fields)}")
    printed = capfd.readouterr()
    silent("\n".join(everything.lines), "a log")
    silent(printed.out + printed.err, "the terminal")
    assert mill.fake.stats.requests == 0
    assert not mill.has_ledger() or mill.rows("SELECT id FROM runs") == []
