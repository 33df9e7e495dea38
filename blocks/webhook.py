"""Where webhook events go: a form in the Prefect UI, or an address with this machine's own secret."""

from dataclasses import dataclass, field
from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.saved import saved_block, server_is_configured
from blocks.settings import Settings, local_secrets
from imagemill.errors import RequestError
from imagemill.netguard import Guard
from imagemill.webhook import check_secret


@dataclass(frozen=True)
class Endpoint:
    """A receiver: its address, the secret shared with it, and where connections are allowed."""

    url: str = field(repr=False)  # some addresses carry a token in their path
    secret: str = field(repr=False)
    guard: Guard


class WebhookEndpoint(Block):
    """A receiver of signed events: "your batch is done, the images are here".

    The receiver checks the signature with the secret; see docs/webhooks.md.
    """

    _block_type_name = "Webhook Endpoint"
    _block_type_slug = "webhook-endpoint"
    _description = "An address that is told, with a signature, how a batch ended."
    _block_schema_capabilities: ClassVar[list[str]] = ["deliver"]

    url: str = Field(
        title="URL", description="Address that events are posted to; https, unless it is your own."
    )
    secret: SecretStr = Field(
        title="Signing secret",
        description="Secret shared with the receiver: whsec_ and base64 of 24 to 64 bytes.",
    )
    private_hosts: str = Field(
        default="",
        title="Allowed private hosts",
        description="Hosts of your own, such as 10.0.0.5 or hooks.lan:8080, separated by commas.",
    )

    def endpoint(self) -> Endpoint:
        """Return the receiver, checked.

        Raises:
            RequestError: The address is not allowed, or the secret is not usable.
        """
        return _checked(self.url, self.secret.get_secret_value(), self.private_hosts)


async def load_endpoint(name_or_url: str, settings: Settings) -> Endpoint:
    """Return the receiver that a name or an address means.

    An address is used as it is, with the secret of `IMAGEMILL_WEBHOOK_SECRET` or else this
    machine's own, and asks no Prefect server.

    Args:
        name_or_url: `https://...`, `NAME` or `webhook-endpoint/NAME`.
        settings: This machine's settings.

    Raises:
        RequestError: No such block, an address that is not allowed, or a secret that is not usable.
    """
    if "://" in name_or_url:
        return _checked(name_or_url, webhook_secret(settings), settings.webhook_private_hosts)
    slug = WebhookEndpoint.get_block_type_slug()
    name = name_or_url.removeprefix(f"{slug}/")
    block = await saved_block(WebhookEndpoint, name)
    if block is None:
        where = (
            "is saved" if server_is_configured() else "is known: no Prefect server is configured"
        )
        raise RequestError(
            f"No block {slug}/{name} {where}.",
            remedy="Save it in the Prefect UI under Blocks, or give the address itself.",
        )
    return block.endpoint()


def webhook_secret(settings: Settings) -> str:
    """Return the secret that events to plain addresses are signed with."""
    given = settings.webhook_secret.get_secret_value()
    return given or local_secrets(settings.home).get("webhook_secret", "")


def _checked(url: str, secret: str, private_hosts: str) -> Endpoint:
    guard = Guard.of(private_hosts)
    check_secret(secret)
    return Endpoint(url=guard.check_url(url).url, secret=secret, guard=guard)
