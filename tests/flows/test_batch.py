"""The main job, end to end: real Prefect, real S3, the real SDK against a fake Gemini over HTTP."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from imagemill.artifact import digest_of
from imagemill.errors import ImagemillError

PRICE_OF_FIVE = "0.168"


def entries(result, *fields):
    return [tuple(entry.get(field) for field in fields) for entry in result["results"]]


def test_a_batch_returns_the_documents_json_in_input_order(mill, words):
    """Counts, and one entry a prompt in input order, with what was added to it (B6)."""
    prompts = words(5)
    mill.fake.script(faults=[{"kind": "slow", "nth": [1], "latency_s": 0.5}])
    result = mill.run(prompts, max_concurrent=3)
    assert {"total", "success_count", "failure_count", "results"} <= set(result)
    assert (result["total"], result["success_count"], result["failure_count"]) == (5, 5, 0)
    assert [entry["prompt"] for entry in result["results"]] == prompts
    for entry in result["results"]:
        assert entry["success"] is True
        assert digest_of(Path(entry["local_path"]).read_bytes()) == entry["sha256"]
        assert digest_of(httpx.get(entry["url"]).content) == entry["sha256"]
        assert (entry["attempts"], entry["reused"]) == (1, False)
    assert result["cost_usd"].startswith(PRICE_OF_FIVE)
    assert json.loads(json.dumps(result)) == result


def test_never_more_in_flight_than_asked_for(mill, words):
    """Measured where it counts: at the server. Five images, three at once."""
    mill.fake.script(latency_s=0.3)
    result = mill.run(words(5), max_concurrent=3)
    assert result["success_count"] == 5
    assert mill.fake.stats.max_in_flight == 3


def test_some_failures_never_fail_the_batch(mill, words):
    """The rest is made; the state says it; a refusal is not asked again (B5)."""
    prompts = words(4)
    mill.fake.script(faults=[{"kind": "prompt_blocked", "prompt": "number 2 of"}])
    state = mill.run(prompts, state=True)
    result = asyncio.run(state.aresult())
    assert (state.name, state.type.value) == ("CompletedWithFailures", "COMPLETED")
    assert entries(result, "success", "error_class", "attempts") == [
        (True, None, 1), (False, "blocked", 1), (True, None, 1), (True, None, 1),
    ]  # fmt: skip
    refused = result["results"][1]
    assert "local_path" not in refused
    assert refused["error"]
    assert mill.fake.stats.requests == 4
    assert mill.ask(lambda ledger: ledger.run(result["run_id"])).state == "completed_with_failures"


def test_when_nothing_succeeds_the_run_failed_and_the_caller_still_gets_the_answer(mill, words):
    """Red in the UI; for a Python caller a result that says what happened to each."""
    mill.fake.script(faults=[{"kind": "prompt_blocked"}])
    result = mill.run(words(2))
    assert (result["success_count"], result["failure_count"]) == (0, 2)
    state = mill.run(words(2), state=True)
    assert state.is_failed()
    assert mill.ask(lambda ledger: ledger.run(result["run_id"])).state == "failed"


def test_without_a_key_every_image_says_which_variable_to_set(mill, words, monkeypatch):
    """Nothing is sent, not even once (B10)."""
    monkeypatch.delenv("GOOGLE_API_KEY")
    result = mill.run(words(2))
    assert all("GOOGLE_API_KEY" in entry["error"] for entry in result["results"])
    assert entries(result, "status", "attempts") == [("not_started", 0)] * 2
    assert mill.fake.stats.requests == mill.fake.stats.lookups == 0


def test_a_key_refused_in_the_middle_stops_the_sending(mill, words):
    """What was made stays made; the rest is reported and not sent."""
    mill.fake.script(faults=[{"kind": "key_refused", "first": 3}])
    result = mill.run(words(8), max_concurrent=1)
    assert entries(result, "status")[:2] == [("made",), ("made",)]
    assert entries(result, "status", "attempts")[2:] == [("failed", 1)] + [("not_started", 0)] * 5
    assert {entry["error_class"] for entry in result["results"][2:]} == {"misconfigured"}
    assert mill.fake.stats.requests == 3


def test_what_was_away_for_a_moment_is_tried_again(mill, words):
    """One 503 is one more attempt; nothing is paid for it."""
    mill.fake.script(faults=[{"kind": "server_error", "nth": [1]}])
    result = mill.run(words(2), max_concurrent=1)
    assert sorted(entries(result, "success", "attempts")) == [(True, 1), (True, 2)]
    assert result["retried_count"] == 1
    assert (mill.fake.stats.requests, mill.fake.stats.images_billed) == (3, 2)


def test_a_rate_limit_pauses_every_sender_of_the_run(mill, words):
    """No request reaches the server before retry-after is over; all images come in the end."""
    mill.fake.script(
        latency_s=0.1, faults=[{"kind": "rate_limited", "nth": [2], "retry_after_s": 3}]
    )
    result = mill.run(words(6), max_concurrent=2)
    assert result["success_count"] == 6
    times = mill.fake.stats.timestamps
    limited = times[1]
    after = [at for at in times if at > limited + 0.5]
    assert min(after) - limited >= 2.9


def test_a_lost_answer_is_listed_with_its_price_and_finished_on_request(mill, words):
    """Sent, perhaps billed, never resent by itself; `resend_ambiguous` pays for another attempt."""
    prompts = words(3)
    mill.fake.script(faults=[{"kind": "drop_midway", "prompt": "number 2 of"}])
    first = mill.run(prompts)
    assert entries(first, "status") == [("made",), ("ambiguous",), ("made",)]
    assert float(first["results"][1]["cost_usd"]) > 0
    assert mill.fake.stats.requests == 3
    mill.fake.script(faults=[])
    again = mill.run(prompts)
    assert entries(again, "status") == [("reused",), ("ambiguous",), ("reused",)]
    assert mill.fake.stats.requests == 3
    finished = mill.run(prompts, resend_ambiguous=True)
    assert entries(finished, "status") == [("reused",), ("made",), ("reused",)]
    assert mill.fake.stats.requests == 4


def test_a_second_run_pays_nothing_and_another_style_is_new(mill, words):
    """Equal requests are shared within the reuse window; a style makes different ones."""
    prompts = words(3)
    first = mill.run(prompts)
    second = mill.run(prompts)
    assert (second["reused_count"], second["cost_usd"]) == (3, "0")
    assert second["saved_usd"] == first["cost_usd"]
    assert entries(second, "sha256", "attempts") == [(e["sha256"], 0) for e in first["results"]]
    assert mill.fake.stats.images_served == 3
    assert mill.run(prompts, style_name="Pixel Art")["reused_count"] == 0
    assert mill.run(prompts, reuse_within_s=0)["reused_count"] == 0
    assert mill.fake.stats.images_served == 9


def test_files_go_to_the_askers_folder(mill, words, tmp_path):
    """Readable names in input order, and the pages beside them."""
    result = mill.run(words(2), output_dir=str(tmp_path / "out"))
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file())
    digests = [entry["sha256"][:12] for entry in result["results"]]
    assert names == [
        f"0001-{digests[0]}.png", f"0002-{digests[1]}.png",
        "contact-sheet.png", "gallery.html", "manifest.json",
    ]  # fmt: skip


def test_the_pages_open_by_their_addresses(mill, words):
    """Manifest, contact sheet and gallery are stored, and speak of this run."""
    prompts = words(2)
    result = mill.run(prompts)
    manifest = httpx.get(result["manifest_url"]).json()
    assert [image["sha256"] for image in manifest["images"]] == [
        entry["sha256"] for entry in result["results"]
    ]
    assert manifest["images"][0]["request"]["subject"] == prompts[0]
    assert httpx.get(result["contact_sheet_url"]).content.startswith(b"\x89PNG")
    assert prompts[1] in httpx.get(result["gallery_url"]).text


def artifacts_of(run_id):
    """Read a run's artifacts from the Prefect server, by kind."""
    from prefect import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    async def read():
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        async with get_client() as client:
            return await client.read_artifacts(artifact_filter=wanted)

    return {artifact.type: artifact for artifact in asyncio.run(read())}


def test_the_ui_gets_progress_table_and_summary_whose_links_stay_good(mill, words, monkeypatch):
    """Their addresses go through the gateway, which signs at every view: presigned ones die."""
    mill.fake.script(faults=[{"kind": "prompt_blocked", "prompt": "number 3 of"}])
    result = mill.run(words(3))
    found = artifacts_of(result["run_id"])
    assert found["progress"].data == 100.0
    rows = json.loads(found["table"].data)
    assert [row["error"] for row in rows] == ["", "", "blocked"]
    summary = found["markdown"].data
    assert "2 of 3 images" in summary
    links = [part.split(")")[0] for part in (summary + rows[0]["link"]).split("](")[1:]]
    assert len(links) == 4
    for link in links:
        assert link.startswith(mill.services.gateway_url)
        assert "X-Amz" not in link
        assert httpx.get(link, follow_redirects=True).status_code == 200


def test_the_webhook_tells_how_the_batch_ended_and_is_signed(mill, words, receiver):
    """Received once, its signature checked by the receiver, no prompt in it."""
    prompts = words(2)
    mill.fake.script(faults=[{"kind": "prompt_blocked", "prompt": "number 2 of"}])
    result = mill.run(prompts, webhook=receiver.url)
    (event,) = receiver.wait_for(1)
    assert event.type == "batch.partial"
    assert event.data["run_id"] == result["run_id"]
    assert event.data["counts"]["failed"] == 1
    assert prompts[0] not in json.dumps(event.data)
    assert receiver.answered == [200]


def test_a_receiver_that_is_away_never_fails_the_run_and_gets_the_same_event_later(
    mill, words, receiver
):
    """The row waits in the outbox; the sweep delivers it under the same id."""
    from flows.webhooks import deliver_webhooks

    receiver.answer_next(503)
    result = mill.run(words(1), webhook=receiver.url)
    assert result["success_count"] == 1
    ((event_id, state, attempts),) = mill.rows("SELECT event_id, state, attempts FROM outbox")
    assert (state, attempts) == ("pending", 1)
    due(mill)
    assert asyncio.run(deliver_webhooks()) == {"delivered": 1}
    assert [event.id for event in receiver.received] == [event_id]
    assert asyncio.run(deliver_webhooks()) == {}


def test_dead_letters_are_sent_again_from_the_form(mill, words, receiver):
    """The flow `replay-webhooks` sends what was given up, under the same id; a named one even twice."""
    from flows.webhooks import replay_webhooks

    receiver.answer_next(410)
    mill.run(words(1), webhook=receiver.url)
    ((event_id, state),) = mill.rows("SELECT event_id, state FROM outbox")
    assert state == "dead"
    assert asyncio.run(replay_webhooks()) == {"delivered": 1}
    assert asyncio.run(replay_webhooks()) == {}
    assert asyncio.run(replay_webhooks(event_ids=[event_id])) == {"delivered": 1}
    assert [event.id for event in receiver.received] == [event_id]
    assert receiver.duplicate_count == 1


def due(mill):
    """Let an hour pass for the outbox."""
    from datetime import timedelta

    async def earlier(ledger):
        ((event_id,),) = mill.rows("SELECT event_id FROM outbox")
        row = await ledger.event(event_id)
        past = ledger.now() - timedelta(hours=1)
        await ledger.update_event(row.model_copy(update={"next_attempt_at": past}))

    mill.ask(earlier)


@pytest.mark.postgres
@pytest.mark.parametrize("ledger_address", ["postgres"], indirect=True)
def test_a_ledger_on_postgresql_tells_the_same(mill, words):
    """IMAGEMILL_DATABASE_URL chooses; reuse, money and states are the same."""
    prompts = words(3)
    mill.fake.script(faults=[{"kind": "prompt_blocked", "prompt": "number 3 of"}])
    first = mill.run(prompts)
    second = mill.run(prompts)
    assert (first["success_count"], second["reused_count"]) == (2, 2)
    assert mill.rows("SELECT count(*) FROM charges")[0][0] >= 2
    assert not mill.rows("SELECT id FROM reservations WHERE state = 'open'")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompts": []}, "list is empty"),
        ({"prompts": "one prompt"}, "list of strings"),
        ({"prompts": ["fine", 7]}, "prompt 2"),
        ({"prompts": ["x " * 16_500]}, "at most 32000|characters"),
        ({"style_name": "Nonesuch"}, "Known styles: .*Pixel Art"),
        ({"provider": "dalle"}, "gemini, comfyui, sdxl, sketch"),
        ({"provider": "gemini/nobody"}, "no block gemini/nobody"),
        ({"model": "gemini-0"}, "gemini-nano-banana"),
        ({"aspect_ratio": "7:5"}, "aspect_ratio is one of"),
        ({"webhook": "http://10.0.0.1/hook"}, "IMAGEMILL_WEBHOOK_PRIVATE_HOSTS|https"),
        ({"webhook": "not a url"}, "No block webhook-endpoint"),
        ({"store": "nowhere"}, "artifact-store/nowhere"),
        ({"output_dir": "/dev/null/out"}, "cannot be written.*--out"),
    ],
)
def test_a_batch_that_cannot_be_made_is_refused_at_the_door(mill, fields, said):
    """One clear error that names the remedy; nothing sent, no run begun."""
    with pytest.raises(ImagemillError, match=f"(?s){said}"):
        mill.run(**{"prompts": ["a lighthouse"], **fields})
    assert mill.fake.stats.requests == mill.fake.stats.lookups == 0
    assert (mill.rows("SELECT id FROM runs") if mill.has_ledger() else []) == []


@pytest.mark.parametrize("fault", ["wrong secret", "away"])
def test_a_store_that_does_not_work_is_named_before_anything_is_paid(mill, monkeypatch, fault):
    """Wrong secret or nobody there: which variable to look at."""
    from blocks.store import forget_stores

    monkeypatch.setenv("IMAGEMILL_S3_BUCKET", "imagemill")
    monkeypatch.setenv("IMAGEMILL_S3_ACCESS_KEY_ID", "imagemill")
    monkeypatch.setenv("IMAGEMILL_S3_SECRET_ACCESS_KEY", "not-the-secret")
    url = mill.services.object_store_url if fault == "wrong secret" else "http://127.0.0.1:9"
    monkeypatch.setenv("IMAGEMILL_S3_ENDPOINT_URL", url)
    forget_stores()
    with pytest.raises(ImagemillError) as refused:
        mill.run(["a lighthouse"])
    assert refused.value.remedy
    assert "not-the-secret" not in str(refused.value)
    assert mill.fake.stats.requests == 0
