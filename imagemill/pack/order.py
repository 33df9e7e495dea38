"""A pack as its file orders it, and what that comes to: single assets and animations."""

import re
from collections import Counter
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from imagemill.animation.order import MAX_FRAMES, AnimationRequest, Pose
from imagemill.asset.decision import MAX_ITERATIONS
from imagemill.asset.judgement import PASS_SCORE, Score
from imagemill.asset.order import MOST_ITERATIONS
from imagemill.asset.request import AssetRequest, AssetSize, PathPart, Short, StyleGuide, Words

MAX_ASSETS = 500
"""In one file, states counted; more is several packs, or a batch."""

_FROZEN = ConfigDict(
    frozen=True, extra="forbid", hide_input_in_errors=True, validate_by_name=True,
    validate_by_alias=True,
)  # fmt: skip

Parameters = Annotated[dict[str, str | int | tuple[str, ...]], Field(max_length=20, repr=False)]


def _state(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,23}", value):
        raise ValueError(
            "is part of a file name in lower case, such as pressed: a letter, then letters, digits, "
            "'_' or '-', at most 24"
        )
    return value


State = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_state)]


class Shared(BaseModel):
    """What every asset of the pack has unless it says otherwise."""

    model_config = _FROZEN

    category: PathPart = "sprite"
    size: AssetSize = AssetSize()
    purpose: Annotated[Short, Field(repr=False)] = "game asset"
    parameters: Parameters = Field(default_factory=dict)


class _Entry(BaseModel):
    model_config = _FROZEN

    name: PathPart
    description: Annotated[Words, Field(repr=False)]
    category: PathPart | None = None
    size: AssetSize | None = None
    purpose: Annotated[Short | None, Field(repr=False)] = None
    parameters: Parameters = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _side(cls, value: Any) -> Any:  # noqa: ANN401 - anything may come in
        return _with_size(value)

    def request(self, shared: Shared, *, name: str = "", words: str = "") -> AssetRequest:
        """Return the entry as an order of one asset, filled up from what is shared."""
        category = self.category or shared.category
        return AssetRequest(
            id=f"{category}/{name or self.name}", category=category, name=name or self.name,
            description=words or self.description, size=self.size or shared.size,
            purpose=shared.purpose if self.purpose is None else self.purpose,
            parameters={**shared.parameters, **self.parameters},
        )  # fmt: skip


class PackAsset(_Entry):
    """One asset; with `states` one picture a state, with `frames` an animation.

    Attributes:
        states: Such as `normal`, `hover`, `pressed`: each becomes `name_state`.
        frames: More than one makes it an animation that idles.
    """

    states: Annotated[tuple[State, ...], Field(max_length=8)] = ()
    frames: Annotated[int, Field(ge=1, le=MAX_FRAMES)] = 1

    @model_validator(mode="after")
    def _not_both(self) -> "PackAsset":
        if self.states and self.frames > 1:
            raise ValueError("states and frames exclude each other; make two assets of it")
        if self.frames == 2:
            raise ValueError("frames: 1, or 3 and more: drift is measured among at least 3")
        if len(set(self.states)) < len(self.states):
            raise ValueError("states: each once")
        return self


class PackAnimation(_Entry):
    """One animation; see `imagemill.animation.order.AnimationRequest`."""

    frames: Annotated[int, Field(ge=3, le=MAX_FRAMES)] = 6
    motion: Annotated[Pose, Field(repr=False)] = "idle animation"
    poses: Annotated[tuple[Pose, ...], Field(max_length=MAX_FRAMES, repr=False)] = ()
    frame_ms: Annotated[int, Field(alias="frameMs", ge=10, le=10_000)] = 100

    @model_validator(mode="after")
    def _a_pose_a_frame(self) -> "PackAnimation":
        if self.poses and len(self.poses) != self.frames:
            raise ValueError(f"poses: one for each of {self.frames} frames; got {len(self.poses)}")
        return self


class Pack(BaseModel):
    """A pack: assets and animations under one style guide.

    Attributes:
        pack: Its name; the folder and the page are called so.
        shared: Written `defaults` in the file.
        target_score: Stop an asset at or above it.
        max_iterations: Most pictures of one asset.
    """

    model_config = _FROZEN

    pack: PathPart
    style_guide: Annotated[StyleGuide, Field(alias="styleGuide")] = StyleGuide()
    shared: Annotated[Shared, Field(alias="defaults")] = Shared()
    target_score: Annotated[Score, Field(alias="targetScore")] = PASS_SCORE
    max_iterations: Annotated[int, Field(alias="maxIterations", ge=1, le=MOST_ITERATIONS)] = (
        MAX_ITERATIONS
    )
    assets: Annotated[tuple[PackAsset, ...], Field(max_length=MAX_ASSETS)] = ()
    animations: Annotated[tuple[PackAnimation, ...], Field(max_length=50)] = ()

    @model_validator(mode="before")
    @classmethod
    def _shared_side(cls, value: Any) -> Any:  # noqa: ANN401 - anything may come in
        if isinstance(value, dict) and "defaults" in value:
            return {**value, "defaults": _with_size(value["defaults"])}
        return value

    @model_validator(mode="after")
    def _something_and_each_once(self) -> "Pack":
        names = [r.id.casefold() for r in self.requests()]
        names += [a.asset.id.casefold() for a in self.animated()]
        if not names:
            raise ValueError("assets: at least one, or an animation")
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ValueError(f"category and name together must differ; twice: {', '.join(twice)}")
        return self

    @property
    def pictures(self) -> int:
        """How many pictures the whole pack has, frames included."""
        return len(self.requests()) + sum(film.frames for film in self.animated())

    def requests(self) -> tuple[AssetRequest, ...]:
        """Return the single pictures, states spread out, in the order of the file."""
        orders = []
        for asset in self.assets:
            if asset.states:
                orders += [self._state(asset, state) for state in asset.states]
            elif asset.frames == 1:
                orders.append(asset.request(self.shared))
        return tuple(orders)

    def families(self) -> list[list[str]]:
        """Return the ids of assets that look alike by intention: the states of each asset."""
        return [
            [self._state(asset, state).id for state in asset.states]
            for asset in self.assets
            if asset.states
        ]

    def animated(self) -> tuple[AnimationRequest, ...]:
        """Return the animations: assets with `frames` first."""
        short = [
            AnimationRequest(asset=asset.request(self.shared), frames=asset.frames)
            for asset in self.assets
            if asset.frames > 1
        ]
        full = [
            AnimationRequest(
                asset=each.request(self.shared), frames=each.frames, motion=each.motion,
                poses=each.poses, frame_ms=each.frame_ms,
            )
            for each in self.animations
        ]  # fmt: skip
        return (*short, *full)

    def _state(self, asset: PackAsset, state: str) -> AssetRequest:
        return asset.request(
            self.shared, name=f"{asset.name}_{state}", words=f"{asset.description}, state: {state}"
        )


def _with_size(value: Any) -> Any:  # noqa: ANN401 - anything may come in
    """Let `size: 256` and `size: 256x128` stand for a width and a height."""
    if not isinstance(value, dict):
        return value
    size = value.get("size")
    if isinstance(size, int) and not isinstance(size, bool):
        return {**value, "size": {"width": size, "height": size}}
    if isinstance(size, str):
        across, _, down = size.partition("x")
        if across.strip().isdigit() and down.strip().isdigit():
            return {**value, "size": {"width": int(across), "height": int(down)}}
    return value
