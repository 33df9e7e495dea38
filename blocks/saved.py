"""Finding a block that an operator saved, without starting a server just to ask."""

from typing import TypeVar

import httpx
from prefect.blocks.core import Block
from prefect.settings import get_current_settings

from imagemill.errors import RequestError, ServiceError

B = TypeVar("B", bound=Block)


def server_is_configured() -> bool:
    """Tell whether a Prefect API is named; an ephemeral server knows no saved blocks."""
    return bool(get_current_settings().api.url)


async def saved_block(kind: type[B], name: str) -> B | None:
    """Return the saved block, or None when there is none of that name.

    Raises:
        RequestError: the server holds one that this version cannot read.
    """
    if not server_is_configured():
        return None
    try:
        return await kind.aload(name)
    except httpx.TransportError as error:
        if name == "default":
            return None
        raise ServiceError(
            f"The Prefect server, which keeps the block {kind.get_block_type_slug()}/{name}, does "
            "not answer.",
            remedy="Start it (`imagemill up`) or correct PREFECT_API_URL.",
        ) from error
    except ValueError as error:
        if "Unable to find block document" in str(error):
            return None
        slug = kind.get_block_type_slug()
        raise RequestError(
            f"The block {slug}/{name} cannot be read.", remedy="Save it again in the Prefect UI."
        ) from error


def no_such_block(slug: str, name: str) -> RequestError:
    """Return the error for a block name that nobody saved."""
    where = (
        "on the Prefect server" if server_is_configured() else "(no Prefect server is configured)"
    )
    return RequestError(
        f"There is no block {slug}/{name} {where}.",
        remedy=f"Save one in the Prefect UI under Blocks, or use {slug}/default.",
    )
