"""What is asked and what came: one key an image, one JSON a result."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from imagemill.diffusion import Diffusion, DiffusionWish
from imagemill.request import BatchRequest, BatchResult, ImageRequest, ImageResult
from tests.builders import batch_request, image_request, image_result

CHANGES = {
    "provider": "gemini", "model": "other", "prompt": "a whale", "negative_prompt": "people",
    "aspect_ratio": "16:9", "size": "512", "seed": 1, "sample": 1, "safety": "block_most",
    "references": ("ab" * 32,), "diffusion": Diffusion(steps=30, guidance=5, sampler="euler"),
}  # fmt: skip


@pytest.mark.parametrize("field", CHANGES)
def test_whatever_changes_the_image_changes_its_key(field):
    """Each field of the request counts."""
    assert image_request().key != image_request(**{field: CHANGES[field]}).key


def test_every_field_is_in_the_key_or_left_out_on_purpose():
    """A field added later must be thought about: here."""
    assert set(ImageRequest.model_fields) == {*CHANGES, "subject", "style"}
    assert image_request().key == image_request(subject="other words", style="Other").key


def test_the_key_is_the_same_on_every_machine_and_day():
    """Keys lie in ledgers: changing how they are computed would pay for everything again."""
    assert image_request().key == (
        "db4f21bf163bd836336f26a01e3332821d5632e2ef426758d168bf3fdb2a5b64"
    )


def test_a_batch_asked_again_is_known_by_its_digest():
    """Where it goes and how fast does not matter; what is drawn does."""
    same = batch_request(max_concurrent=9, webhook="https://x/", output_dir="/o", store="s",
                         reuse_within_s=1, resend_ambiguous=True,
                         fallback=("gemini",), style_lock=True)  # fmt: skip
    assert same.digest == batch_request().digest
    assert batch_request(seed=1).digest != batch_request().digest


def test_a_batch_has_the_digest_it_had_before_there_were_rows_and_diffusion():
    """Digests lie in ledgers: with another one a crashed batch would not be finished but begun anew."""
    assert batch_request().digest == (
        "4577a0d0909f209732563af6d736bc5935e1c5e80dbb8bba9b202cb05364d7e8"
    )
    more = batch_request(
        seed=7, size="1K", samples=2, negative_prompt="blur", model="m", references=("a.png",)
    )
    assert more.digest == "643e2911b2dc2c515f27995e715f0140c645a4ef7638bca74845b0cb52d63963"
    assert batch_request(diffusion=DiffusionWish(steps=9)).digest != batch_request().digest


def test_a_batch_is_read_back_as_it_was_asked_for():
    """Resuming reads it from the ledger; what nobody asked for is not written."""
    asked = batch_request(diffusion=DiffusionWish(steps=9, loras=("ink:0.8",)))
    assert BatchRequest.model_validate_json(asked.model_dump_json()) == asked
    assert "diffusion" not in batch_request().model_dump_json()


def test_facts_of_a_provider_are_told_where_there_are_any():
    """In the result, and read back from the ledger; results from before have none."""
    noted = image_result(facts={"generate_s": 1.25, "bucket": 4, "sampler": "euler"})
    assert noted.to_json()["facts"] == noted.facts
    assert ImageResult.model_validate_json(noted.model_dump_json()).facts == noted.facts
    assert "facts" not in image_result().to_json()


def test_nothing_that_is_printed_holds_a_prompt():
    """Neither the values themselves nor the errors about them."""
    canary = "xyzzy the canary sings"
    request = image_request(prompt=canary, subject=canary, negative_prompt=canary)
    result = image_result(prompt=canary)
    assert canary not in repr(request) + repr(result) + request.prompt_digest
    with pytest.raises(ValidationError) as refused:
        image_request(prompt=canary, seed=canary)
    assert canary not in str(refused.value)


def test_a_batch_keeps_its_prompts_out_of_its_repr():
    """A repr ends in logs sooner or later."""
    assert "red fox" not in repr(batch_request(negative_prompt="a red fox"))


def test_a_result_entry_has_the_documents_fields():
    """`local_path` on success, `error` on failure, never both (B6)."""
    made = image_result(local_path="/x.png", url="https://u").to_json()
    failed = image_result(success=False, status="failed", error="no", error_class="blocked",
                          sha256=None).to_json()  # fmt: skip
    assert {"prompt", "success", "local_path", "url", "sha256"} <= set(made)
    assert not {"error", "error_class"} & set(made)
    assert {"prompt", "success", "error", "error_class"} <= set(failed)
    assert not {"local_path", "url", "sha256"} & set(failed)


def test_a_batch_result_counts_and_adds_up():
    """Reused images are saved, not spent; ambiguous ones are spent."""
    price = Decimal("0.03")
    results = (
        image_result(cost_usd=price, attempts=2),
        image_result(index=1, cost_usd=price, status="reused", reused=True),
        image_result(index=2, cost_usd=Decimal("0.05"), success=False, status="ambiguous"),
        image_result(index=3, success=False, status="not_started"),
    )
    result = BatchResult.of("run", results, seconds=1.5)
    data = result.to_json()
    assert list(data)[:1] == ["run_id"]
    assert (data["total"], data["success_count"], data["failure_count"]) == (4, 2, 2)
    assert (result.reused_count, result.ambiguous_count, result.retried_count) == (1, 1, 1)
    assert (result.cost_usd, result.saved_usd) == (Decimal("0.08"), price)
    assert [entry["index"] for entry in data["results"]] == [0, 1, 2, 3]
