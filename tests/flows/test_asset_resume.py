"""A run of assets is gone on with like any other: by its id, with a higher budget, for what is missing."""

import asyncio
from decimal import Decimal

import pytest

from imagemill.errors import RequestError
from tests.flows.assets import asset, billed_by, charged, make


def resume(**fields):
    from flows.resume import resume_run

    return asyncio.run(resume_run(**fields))


def test_at_its_budget_a_run_of_assets_goes_on_under_a_higher_one(mill, tmp_path):
    """What the first run paid is reused, and everything is delivered in one result."""
    order = {"requests": [asset(f"n{n}") for n in range(3)], "output_dir": str(tmp_path),
             "max_concurrent": 1, "max_iterations": 1, "judge": "pixels"}  # fmt: skip
    first = make(**order, max_cost_usd=0.09)
    assert 0 < first["success_count"] < 3
    sent = mill.fake.stats.requests
    rest = resume(run=first["run_id"], max_cost_usd=1)
    assert [each["status"] for each in rest["results"]] == ["success"] * 3
    assert mill.fake.stats.requests == sent + 3 - first["success_count"] == 3
    assert charged(mill) == billed_by(mill.fake)
    assert Decimal(rest["cost_usd"]) == charged(mill) - Decimal(first["cost_usd"])


def test_error_classes_are_for_batches(mill, tmp_path):
    """A loop has no image to send again: it is said, not passed over."""
    order = {"requests": [asset()], "output_dir": str(tmp_path), "judge": "pixels"}
    first = make(**order, max_iterations=1)
    with pytest.raises(RequestError, match="as a whole"):
        resume(run=first["run_id"], only=["rate_limited"])


PACK = """
pack: small
style_guide: {artStyle: hand_drawn}
defaults: {size: 64, category: items}
maxIterations: 1
assets:
  - {name: potion, description: a green potion}
  - {name: chest, description: a treasure chest}
animations:
  - {name: fox, description: a red fox, frames: 3}
"""


def test_a_pack_goes_on_with_its_animations_and_its_page(mill, tmp_path):
    """Its budget ended it after two pictures; resumed, it is the whole pack, each picture paid once."""
    from flows.pack import generate_pack

    first = asyncio.run(generate_pack(
        pack=PACK, judge="pixels", refiner="rules", output_dir=str(tmp_path), max_concurrent=1,
        max_cost_usd=0.09, max_redos=0,
    ))  # fmt: skip
    sent = mill.fake.stats.requests
    assert 0 < sent < 5
    whole = resume(run=first["run_id"], max_cost_usd=1)
    assert (whole["success_count"], whole["total"]) == (5, 5)
    ((film,),) = [whole["animations"]]
    assert (film["frames"], film["status"]) == (3, "success")
    assert (tmp_path / "report.html").is_file()
    assert mill.fake.stats.requests == 5
    assert charged(mill) == billed_by(mill.fake)
