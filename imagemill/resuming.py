"""Going on with a run that ended: which images are asked for again, and which are left as they are."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from imagemill.errors import ImagemillError, RequestError
from imagemill.ledger.values import RunRow
from imagemill.planning import checked_batch
from imagemill.request import BatchRequest, ImageResult


@dataclass(frozen=True)
class Limits:
    """What may differ when a run is gone on with.

    Attributes:
        resend_ambiguous: Whether to pay again where an answer was lost.
        max_cost_usd: Replaces the run's own budget; None keeps it.
    """

    resend_ambiguous: bool = False
    max_cost_usd: Decimal | None = None


def resumed_batch(run: RunRow, limits: Limits = Limits()) -> BatchRequest:
    """Return a run's batch as it was asked for, with what may differ this time.

    Raises:
        RequestError: the run's request cannot be read by this version, or a limit is not one.
    """
    try:
        asked = BatchRequest.model_validate_json(run.request).model_dump()
    except ValueError:
        raise RequestError(
            f"What run {run.id} was asked for cannot be read.",
            remedy="Start the batch itself again; what is paid is reused within its window.",
        ) from None
    cap = asked["max_cost_usd"] if limits.max_cost_usd is None else limits.max_cost_usd
    return checked_batch(
        **{**asked, "resend_ambiguous": limits.resend_ambiguous, "max_cost_usd": cap}
    )


def checked_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the error classes that a retry is limited to, each a known one.

    Raises:
        RequestError: lists the known ones.
    """
    listed = names.split(",") if isinstance(names, str) else names
    wanted = tuple(name.strip() for name in listed if name.strip())
    known = sorted({cls.error_class for cls in _family(ImagemillError)} | {"unexpected"})
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise RequestError(
            f"There is no error class {unknown[0][:60]!r}.",
            remedy=f"Known are {', '.join(known)}.",
        )
    return wanted


def carried(
    items: Iterable[ImageResult], only: Sequence[str], *, resend_ambiguous: bool = False
) -> dict[int, ImageResult]:
    """Return the failures that are not tried again, by place: those of another class than `only`.

    Without `only` everything that was not delivered is tried again. What is ambiguous is tried when
    it is to be resent, whatever `only` says; the ledger refuses it otherwise.
    """
    return {
        item.index: item
        for item in items
        if only
        and not item.success
        and item.error_class not in only
        and not (resend_ambiguous and item.status == "ambiguous")
    }


def _family(cls: type[ImagemillError]) -> Iterator[type[ImagemillError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _family(child)
