"""What came of an animation, for the flow's answer, the page and the command line."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class RedoneFrame(BaseModel):
    """A frame that was drawn again: why, how often in all, and whether it belongs now."""

    model_config = ConfigDict(frozen=True)

    frame: int
    why: str
    attempts: int
    held: bool


class AnimationResult(BaseModel):
    """One animation.

    Attributes:
        status: `success` with files; `failed` when a frame is missing: there is no sheet then.
        frame_ids: `requestId` of every frame among the run's results, in order.
        drift: Of each frame, as a share of what is allowed: above 1 it does not belong.
        outliers: Frames that still do not belong.
        referenced: Whether the frames were drawn after the first one as a reference picture; some
            models take none.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    category: str
    status: Literal["success", "failed"]
    frames: int
    frame_ms: int
    frame_ids: tuple[str, ...]
    referenced: bool
    drift: tuple[float, ...] = ()
    outliers: tuple[int, ...] = ()
    redone: tuple[RedoneFrame, ...] = ()
    sheet_path: str | None = None
    atlas_path: str | None = None
    gif_path: str | None = None
    error: str | None = None
