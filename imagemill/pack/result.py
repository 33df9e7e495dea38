"""What came of a pack, in one value: the assets, the animations, how they fit, where the page is."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from imagemill.animation.result import AnimationResult
from imagemill.asset.publishing import AssetsResult
from imagemill.pack.review import PackReview


class PackResult(BaseModel):
    """A pack that ended.

    Attributes:
        name: Of the pack.
        assets: Every picture of it with totals and bill, frames of animations included.
        animations: In the order of the file.
        review: None when fewer than one picture was made.
        page_path: The report page on this machine.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    name: str
    assets: AssetsResult
    animations: tuple[AnimationResult, ...] = ()
    review: PackReview | None = None
    page_path: str | None = None
    page_url: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the answer of the asset flow, and what a pack adds to it."""
        return {
            "pack": self.name,
            **self.assets.to_json(),
            "animations": [each.model_dump(mode="json") for each in self.animations],
            "consistency": self.review.to_json() if self.review else None,
            "page_path": self.page_path,
            "page_url": self.page_url,
        }
