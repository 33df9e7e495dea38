"""A name is resolved once, checked, and the connection goes to the very address that was checked."""

import datetime as dt
import ssl

import httpcore
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from imagemill.netguard import (
    Guard,
    UrlRefused,
    guarded_client,
    guarded_transport,
    resolve_host,
)
from tests.wire.loopback import loopback, says

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class _Dns:
    """Answers each question with the next of `answers`, and counts."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Wire(httpcore.AsyncNetworkBackend):
    """Connects nowhere: notes where to, and lets `OK` be read. `dead` addresses refuse."""

    def __init__(self, *dead):
        self.dead = dead
        self.connected = []

    async def connect_tcp(self, host, port, **options):
        self.connected.append(host)
        if host in self.dead:
            raise httpcore.ConnectError("refused")
        return httpcore.AsyncMockStream([OK])


def _client(guard, dns, wire):
    transport = guarded_transport(guard, resolve=dns)
    transport._pool._network_backend._inner = wire
    return httpx.AsyncClient(transport=transport)


async def test_a_rebinding_name_is_resolved_once_and_reached_where_it_was_checked():
    """A name that is public when checked and private a moment later is reached at the public one."""
    dns, wire = _Dns(["8.8.8.8"], ["127.0.0.1"]), _Wire()
    async with _client(Guard(allow_http=True), dns, wire) as client:
        assert (await client.get("http://rebind.example/")).text == "hello"
    assert dns.asked == [("rebind.example", 80)]
    assert wire.connected == ["8.8.8.8"]


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["8.8.8.8", "fe80::1%eth0"], ["64:ff9b::7f00:1"], []],
)
async def test_one_private_address_among_many_is_enough_to_refuse(addresses):
    """No connection is made to a name of which any address is not public, or that has none."""
    wire = _Wire()
    async with _client(Guard(allow_http=True), _Dns(addresses), wire) as client:
        with pytest.raises(UrlRefused, match=r"mixed\.example"):
            await client.get("http://mixed.example/")
    assert wire.connected == []


async def test_the_next_address_is_tried_when_one_does_not_answer():
    """A host whose first address is dead is reached at its second; if none answers, it is told."""
    wire = _Wire("8.8.8.8")
    async with _client(Guard(allow_http=True), _Dns(["8.8.8.8", "1.1.1.1"]), wire) as client:
        assert (await client.get("http://two.example/")).text == "hello"
    assert wire.connected == ["8.8.8.8", "1.1.1.1"]
    async with _client(Guard(allow_http=True), _Dns(["8.8.8.8"]), _Wire("8.8.8.8")) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://one.example/")


async def test_a_literal_address_is_not_asked_of_dns():
    """An IP address is connected to as it is."""
    wire = _Wire()
    async with _client(Guard(allow_http=True), _Dns(), wire) as client:
        assert (await client.get("http://8.8.8.8/")).text == "hello"
    assert wire.connected == ["8.8.8.8"]


@pytest.mark.parametrize("failure", [OSError("no such name"), UnicodeError("label too long")])
async def test_an_unknown_name_is_a_connection_error(failure):
    """A name that does not resolve looks like any host that is away."""
    async with _client(Guard(allow_http=True), _Dns(failure), _Wire()) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://nowhere.example/")


async def test_the_transport_itself_refuses_what_the_door_would():
    """Whoever forgets the door is stopped at the transport."""
    async with guarded_client(Guard()) as client:
        for url in ("http://hooks.example.com/", "https://127.0.0.1/"):
            with pytest.raises(UrlRefused):
                await client.get(url)


async def test_the_systems_resolver_knows_localhost():
    """The default resolver gives plain addresses, each once."""
    found = await resolve_host("localhost", 80)
    assert set(found) <= {"127.0.0.1", "::1"}
    assert len(found) == len(set(found)) > 0


def _certificate(folder, name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(pem)
    )  # fmt: skip
    return path


async def test_tls_and_the_host_header_keep_the_name(tmp_path):
    """The connection goes to the checked address; SNI, certificate and Host say the name."""
    path = _certificate(tmp_path, "hooks.example")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(path)
    names = []
    serving.sni_callback = lambda sock, name, context: names.append(name)
    trusting = ssl.create_default_context(cafile=str(path))
    dns = _Dns(["127.0.0.1"], ["127.0.0.1"])
    guard = Guard.of("hooks.example,other.example")
    async with (
        loopback(says(OK), tls=serving) as server,
        guarded_client(guard, resolve=dns, tls=trusting) as client,
    ):
        answer = await client.get(f"https://hooks.example:{server.port}/")
        assert answer.text == "hello"
        assert names == ["hooks.example"]
        assert f"Host: hooks.example:{server.port}" in server.requests[0]
        with pytest.raises(httpx.ConnectError, match="ertificate"):
            await client.get(f"https://other.example:{server.port}/")
