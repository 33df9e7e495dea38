"""A receiver is named by address or by block; an address needs no Prefect server."""

import pytest
from pydantic import SecretStr

from blocks.settings import Settings, local_secrets
from blocks.webhook import Endpoint, WebhookEndpoint, load_endpoint
from imagemill.errors import RequestError
from imagemill.netguard import Guard, UrlRefused

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"


async def test_an_address_is_used_with_this_machines_own_secret(home):
    """Nothing need be set up: the secret is made at first use and stays."""
    first = await load_endpoint("https://hooks.example.com/a", Settings())
    again = await load_endpoint("https://hooks.example.com/b", Settings())
    assert first.url == "https://hooks.example.com/a"
    assert first.secret == again.secret == local_secrets(home)["webhook_secret"]
    assert first.guard == Guard()


async def test_the_environment_gives_secret_and_private_hosts(home, monkeypatch):
    """An operator's secret wins, and listed hosts of their own are allowed."""
    monkeypatch.setenv("IMAGEMILL_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("IMAGEMILL_WEBHOOK_PRIVATE_HOSTS", "127.0.0.1:8765, hooks.lan")
    endpoint = await load_endpoint("http://127.0.0.1:8765/hook", Settings())
    assert endpoint == Endpoint(
        url="http://127.0.0.1:8765/hook", secret=SECRET, guard=Guard.of("127.0.0.1:8765,hooks.lan")
    )
    assert not (home / "secrets.json").exists()


async def test_an_address_that_is_not_allowed_is_refused_before_the_batch(home):
    """The asker learns at the door, not when the images are paid."""
    with pytest.raises(UrlRefused, match="IMAGEMILL_WEBHOOK_PRIVATE_HOSTS"):
        await load_endpoint("http://127.0.0.1:8765/", Settings())


async def test_a_secret_that_cannot_sign_is_refused_before_the_batch(home, monkeypatch):
    """Likewise a secret of the wrong form, which the message does not repeat."""
    monkeypatch.setenv("IMAGEMILL_WEBHOOK_SECRET", "hunter2")
    with pytest.raises(RequestError, match="whsec_") as refused:
        await load_endpoint("https://hooks.example.com/", Settings())
    assert "hunter2" not in str(refused.value)


async def test_a_name_that_nobody_saved_is_refused(home):
    """Without a Prefect server there are no names; none is started to find out."""
    for name in ("team", "webhook-endpoint/team"):
        with pytest.raises(RequestError, match="No block webhook-endpoint/team"):
            await load_endpoint(name, Settings())


def test_a_block_becomes_an_endpoint_and_keeps_its_secret_to_itself():
    """What was saved in the form is checked and used; neither form nor endpoint shows the secret."""
    block = WebhookEndpoint(
        url="http://hooks.lan:9/", secret=SecretStr(SECRET), private_hosts="hooks.lan:9"
    )
    endpoint = block.endpoint()
    assert (endpoint.url, endpoint.secret) == ("http://hooks.lan:9/", SECRET)
    assert SECRET not in repr(block) + repr(endpoint)


def test_every_field_of_the_form_is_explained():
    """Each field has a title and a sentence."""
    for name, field in WebhookEndpoint.model_fields.items():
        if not name.startswith("_"):
            assert field.title, name
            assert field.description, name
            assert field.description.endswith("."), name
