"""After the answer: decode, spool, charge, shelve, upload, hand out.

Paid bytes are on disk before anything else can go wrong, the charge is written next, the upload
last; what is paid already is found here, or fetched.
"""

import asyncio
from pathlib import Path

from imagemill.artifact import ArtifactRef
from imagemill.decode import decoded
from imagemill.errors import AnswerLost, ArtifactError, BudgetExceeded, StoreUnavailable
from imagemill.failing import record_failure
from imagemill.ledger import Ask, Reused
from imagemill.ledger.values import Account, Payment
from imagemill.providers.base import GeneratedImage
from imagemill.spool import Spooled, hand_out
from imagemill.workshop import Workshop


async def kept(
    shop: Workshop, ask: Ask, reservation_id: int, generated: GeneratedImage, *, seconds: float
) -> tuple[Reused, Path]:
    """Decode, spool, charge, shelve. An answer in the spool stays open until it is charged.

    Raises:
        AnswerLost: the picture is broken, or this machine cannot keep it (the run stops sending).
    """
    try:
        spooled = await asyncio.to_thread(
            _decoded_and_spooled, shop, ask.key, reservation_id, generated, seconds=seconds
        )
    except AnswerLost as error:
        await record_failure(shop, reservation_id, error)
        raise
    finally:
        shop.desk.release()
    shop.facts[ask.key] = generated.facts
    above = await shop.ledger.paid(reservation_id, spooled.payment)
    shop.unsettled.settled(reservation_id)
    if above:
        shop.stopped = shop.stopped or _billed_above(spooled.payment, ask, above)
    path = await asyncio.to_thread(shop.spool.shelve, spooled)
    paid = Reused(
        **dict(spooled.payment),
        **ask.model_dump(include={"key", "provider", "model", "run_id"}),
        reservation_id=reservation_id,
    )
    return paid, path


def _billed_above(payment: Payment, ask: Ask, account: Account) -> BudgetExceeded:
    """Name what does not change any more: what is spent grows by the answers still on their way."""
    return BudgetExceeded(
        f"The provider billed ${payment.cost_usd} for an image that ${ask.worst_case_usd} was held "
        f"for, more than its worst case in the catalog: the ceiling of ${account.cap_usd} is passed.",
        remedy="Nothing more is sent. Correct the model's price in your catalog file, then resume "
        "under a higher ceiling.",
    )


def _decoded_and_spooled(
    shop: Workshop, key: str, reservation_id: int, generated: GeneratedImage, *, seconds: float
) -> Spooled:
    """Decode in full, then put the answer on disk. Runs in a thread.

    A picture that does not decode is an answer lost; a machine that cannot keep what it pays for
    sends nothing more.
    """
    payment = _payment(generated, seconds=seconds)
    try:
        return shop.spool.keep(key, reservation_id, generated.data, payment)
    except ArtifactError as error:
        shop.stopped = error
        raise AnswerLost(
            f"The picture came and could not be kept: {error.message}",
            remedy=f"{error.remedy} Then run again with --resend-ambiguous.",
        ) from error


def _payment(generated: GeneratedImage, *, seconds: float) -> Payment:
    try:
        image = decoded(generated.data)
    except ArtifactError as error:
        raise AnswerLost(
            f"The provider's picture is broken: {error.message}",
            remedy="It may have been billed; run again with --resend-ambiguous for another attempt.",
        ) from error
    artifact = ArtifactRef(
        digest=image.digest,
        media_type=image.media_type,
        size_bytes=image.size_bytes,
        width_px=image.width_px,
        height_px=image.height_px,
    )
    return Payment(
        artifact=artifact, cost_usd=generated.cost_usd, seconds=seconds, seed=generated.seed
    )


async def local_file(shop: Workshop, paid: Reused) -> Path:
    """Return the picture's file on this machine; fetch it when another machine made it.

    Raises:
        StoreUnavailable: it is paid, but whoever made it has not uploaded it yet; ask again.
    """
    path = shop.spool.image_path(paid.artifact)
    if await asyncio.to_thread(path.is_file):
        return path
    # A process that died between charge and shelf left it in the spool.
    if left := await asyncio.to_thread(shop.spool.find, paid.key, paid.reservation_id):
        return await asyncio.to_thread(shop.spool.shelve, left)
    if await asyncio.to_thread(path.is_file):  # a twin run was putting it there just now
        return path
    if not await shop.store.exists(paid.artifact):
        raise StoreUnavailable(
            f"The image {paid.artifact.digest[:12]} is paid and not in the store yet.",
            remedy="The machine that made it is uploading it, or must be started again to do so.",
        )
    data = await shop.store.get(paid.artifact)
    return await asyncio.to_thread(shop.spool.adopt, paid.artifact, data)


async def stored(shop: Workshop, paid: Reused, path: Path) -> None:
    """Upload once. An old image is looked for first: usually it lies there, unless emptied."""
    if paid.run_id != shop.run.id and await shop.store.exists(paid.artifact):
        return
    async with shop.uploads:
        await shop.store.put_file(paid.artifact, path)


def previewed(shop: Workshop, paid: Reused, path: Path) -> str | None:
    """Make the small copy, while the next picture is waited for; return where it lies."""
    preview = shop.spool.preview(paid.artifact, path)
    return str(preview) if preview else None


def handed_out(shop: Workshop, index: int, paid: Reused, path: Path) -> Path:
    """Return where the asker finds the file: in the output folder under a readable name, if any."""
    return handed_out_file(shop, index, paid.artifact.digest, path)


def handed_out_file(shop: Workshop, index: int, digest: str, path: Path) -> Path:
    """Do what `handed_out` does for a file that is known by its digest."""
    if shop.output_dir is None:
        return path
    return hand_out(path, shop.output_dir, f"{index + 1:04}-{digest[:12]}{path.suffix}")
