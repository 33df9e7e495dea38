"""An animation as it is ordered, and what each of its frames is asked to show."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from imagemill.asset.request import AssetRequest

MAX_FRAMES = 64
"""A sheet of 64 frames of 512 px is 4,110 px wide: the largest that phones take."""

Pose = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class AnimationRequest(BaseModel):
    """One animation.

    Attributes:
        asset: What moves; its name is the animation's, its description that of the figure.
        frames: How many.
        motion: What it does, such as `walk cycle, side view`.
        poses: What each frame shows; empty leaves that to the model.
        frame_ms: How long a frame stays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    asset: AssetRequest
    frames: Annotated[int, Field(ge=3, le=MAX_FRAMES)] = 6
    motion: Annotated[Pose, Field(repr=False)] = "idle animation"
    poses: Annotated[tuple[Pose, ...], Field(max_length=MAX_FRAMES, repr=False)] = ()
    frame_ms: Annotated[int, Field(ge=10, le=10_000)] = 100

    @model_validator(mode="after")
    def _a_pose_a_frame(self) -> "AnimationRequest":
        if self.poses and len(self.poses) != self.frames:
            raise ValueError(f"poses: one for each of {self.frames} frames; got {len(self.poses)}")
        return self

    def frame(self, index: int) -> AssetRequest:
        """Return what frame `index` (from 0) is asked to show.

        From the second on, the words tell the model to keep to its reference, the first frame.
        """
        words = f"{self.asset.description}, {self.motion}, frame {index + 1} of {self.frames}"
        if self.poses:
            words += f": {self.poses[index]}"
        if index:
            words += (
                ". Exactly the same figure as in the reference picture: same colours, same outline, "
                "same size, same place on the ground; only the pose differs"
            )
        changes = {
            "id": f"{self.asset.id}#{index}",
            "name": f"{self.asset.name}_{index}",
            "description": words[:2000],
            "purpose": f"frame {index + 1} of {self.frames} of an animation",
        }
        return AssetRequest.model_validate({**self.asset.model_dump(), **changes})
