"""What a caller of the pack or animation flow asks for, checked at the door: nothing is paid before."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ConfigDict

from imagemill.asset.order import AssetOrder, checked_order, limited, unreadable, whole_run
from imagemill.asset.request import AssetRequest, StyleGuide, checked
from imagemill.ledger.values import RunRow
from imagemill.pack.order import Pack, PackAnimation
from imagemill.pack.reading import read_pack
from imagemill.resuming import Limits


def checked_pack(pack: object) -> Pack:
    """Return a pack from its YAML text, from fields, or as it is.

    Raises:
        RequestError: says what is wrong and where; never what was given.
    """
    if isinstance(pack, (str, bytes)):
        return read_pack(pack)
    return checked(Pack, pack, what="pack")


def order_of(pack: Pack, **fields: Any) -> AssetOrder:  # noqa: ANN401 - as the flow's parameters
    """Return the order of a pack's first pictures: single assets, then first frames.

    `target_score` and `max_iterations` of None are the pack's own.

    Raises:
        RequestError: it cannot be made as asked.
    """
    for name in ("target_score", "max_iterations"):
        if fields.get(name) is None:
            fields[name] = getattr(pack, name)
    firsts = [animation.frame(0) for animation in pack.animated()]
    return checked_order([*pack.requests(), *firsts], pack.style_guide, **fields)


class PackRun(BaseModel):
    """A pack with all that was asked of it: what the ledger keeps of a run, to go on with.

    `max_redos` is how often a frame that drifts is drawn again at most.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    pack: Pack
    order: AssetOrder
    max_redos: int


def resumed_pack(run: RunRow, limits: Limits, *, only: Sequence[str] = ()) -> PackRun:
    """Return what a run of a pack was asked for, with what may differ this time.

    Raises:
        RequestError: `only` is not empty, or this version cannot read the run's request.
    """
    whole_run(run, only)
    with suppress(ValueError):
        asked = PackRun.model_validate_json(run.request)
        return asked.model_copy(update={"order": limited(asked.order, limits)})
    # Raised out here: pydantic's error would carry the words along.
    raise unreadable(run)


def pack_of_one(
    request: object,
    style_guide: object,
    **moving: Any,  # noqa: ANN401 - this is where input is checked
) -> Pack:
    """Return a pack that is one animation, from an asset and what it does.

    Raises:
        RequestError: says what is wrong; never what was given.
    """
    asset = checked(AssetRequest, request, what="request")
    guide = checked(StyleGuide, {} if style_guide is None else style_guide, what="style_guide")
    one = {**asset.model_dump(exclude={"id"}), **moving, "poses": tuple(moving.get("poses") or ())}
    animation = checked(PackAnimation, one, what="the animation")
    return Pack(pack=asset.name, style_guide=guide, animations=(animation,))
