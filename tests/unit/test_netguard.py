"""imagemill connects on somebody else's word only to public addresses, or to listed hosts."""

import asyncio
import datetime as dt
import ssl
from ipaddress import ip_address

import httpcore
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from imagemill.errors import RequestError
from imagemill.netguard import (
    Guard,
    UrlRefused,
    fetch,
    guarded_client,
    guarded_transport,
    is_public,
    resolve_host,
)
from tests.wire.loopback import endless, loopback, says

LOOPBACK = Guard.of("127.0.0.1")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

# 8.8.8.8, 2606:4700::1111 and the forms that carry them.
PUBLIC = ("8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808",
          "2002:808:808::1", "2a00:1450:4001::1")  # fmt: skip

NOT_PUBLIC = (
    "127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.0.9", "192.0.0.170", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1",
    "2001::1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:20::1", "2001:db8::1", "3fff::1",
    "5f00::1", "100::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "ff0e::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address):
    """What the whole internet reaches, we may reach."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_traps_are_not_public(address):
    """Every address that is not public is known as such, also where `ipaddress` calls it global."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://hooks.example.com/a?b=c", "hooks.example.com", 443),
        ("https://hooks.example.com:443/", "hooks.example.com", 443),
        ("https://HOOKS.Example.COM./", "hooks.example.com", 443),
        ("https://bücher.example/", "xn--bcher-kva.example", 443),
        ("https://8.8.8.8/", "8.8.8.8", 443),
        ("https://[2606:4700::1111]/", "2606:4700::1111", 443),
    ],
)
def test_plain_https_addresses_pass_the_door(url, host, port):
    """A usual https address passes, without a question to DNS."""
    checked = Guard().check_url(url)
    assert (checked.scheme, checked.host, checked.port) == ("https", host, port)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example.com/", "Only https"),
        ("ftp://hooks.example.com/", "Only https"),
        ("file:///etc/passwd", "host name"),
        ("gopher://x.example/", "Only https"),
        ("https://user:secret@hooks.example.com/", "user name"),
        ("https://hooks.example.com:22/", "Port 22"),
        ("https://hooks.example.com:99999/", "Port 99999"),
        ("https://" + "a" * 2048, "2048"),
        ("https://hooks.example.com/a b", "spaces"),
        ("https://hooks.example.com/\n", "spaces"),
        ("https://good.example\\@127.0.0.1/", "backslash"),
        ("https:///path", "host name"),
        ("https://a..b/", "host name"),
        ("https://ex%20ample/", "host name"),
        ("https://" + "a" * 64 + ".example/", "host name"),
        ("https://[fe80::1%25eth0]/", "host name"),
        ("https://[::1/", "not an address"),
        ("hooks.example.com", "host name"),
    ],
)
def test_other_forms_are_refused_at_the_door(url, why):
    """Anything but a plain https address is refused with the rule it breaks."""
    with pytest.raises(UrlRefused, match=why):
        Guard().check_url(url)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "017700000001", "0", "127.0.0.1.",
     "①②⑦.0.0.1", "127。0。0。1", "[::1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[::]",
     "169.254.169.254", "0xA9FEA9FE", "localhost", "LOCALHOST", "a.localhost"],
)  # fmt: skip
def test_every_spelling_of_a_private_address_is_refused_at_the_door(host):
    """Decimal, hex, octal, short and full-width spellings are read as the C library reads them."""
    with pytest.raises(UrlRefused):
        Guard().check_url(f"https://{host}/")


def test_the_message_names_the_remedy_and_not_the_path():
    """Whoever is refused learns which setting allows it; tokens in the path stay unsaid."""
    with pytest.raises(UrlRefused) as refused:
        Guard().check_url("https://127.0.0.1/hook/s3cret?token=s3cret")
    assert "IMAGEMILL_WEBHOOK_PRIVATE_HOSTS" in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("listed", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8765/"),
        ("127.0.0.1:8765", "http://127.0.0.1:8765/"),
        ("127.0.0.1", "http://2130706433:8765/"),
        ("LOCALHOST.", "http://localhost:1/"),
        ("::1", "http://[::1]:8080/"),
        ("[::1]:8080", "http://[::1]:8080/"),
        (" 10.0.0.5 , hooks.lan:9 ", "http://hooks.lan:9/"),
    ],
)
def test_listed_hosts_pass_with_http_and_their_port(listed, url):
    """One setting is enough to reach a host of one's own."""
    assert Guard.of(listed).check_url(url)


@pytest.mark.parametrize(
    ("listed", "url"),
    [
        ("127.0.0.1:8765", "http://127.0.0.1:8766/"),
        ("127.0.0.1", "http://127.0.0.2/"),
        ("hooks.lan", "http://evil.hooks.lan/"),
        ("169.254.169.254", "http://169.254.169.254/"),
        ("::ffff:169.254.169.254", "http://[::ffff:169.254.169.254]/"),
        ("64:ff9b::a9fe:a9fe", "http://[64:ff9b::a9fe:a9fe]/"),
        ("0.0.0.0", "http://0.0.0.0/"),
        ("", "http://127.0.0.1/"),
    ],
)
def test_listing_one_host_lists_no_other_and_never_the_metadata_service(listed, url):
    """The list is exact, and cannot be made to mean the cloud's metadata service."""
    with pytest.raises(UrlRefused):
        Guard.of(listed).check_url(url)


def test_http_to_public_hosts_can_be_allowed():
    """An operator may allow plain http; a private address stays refused."""
    guard = Guard(allow_http=True)
    assert guard.check_url("http://hooks.example.com/").port == 80
    with pytest.raises(UrlRefused):
        guard.check_url("http://10.0.0.1/")


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


async def test_proxies_of_the_environment_are_ignored(monkeypatch):
    """A proxy in the environment would make the connection for us, unchecked."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with loopback(says(OK)) as server:
        assert await fetch(server.url, LOOPBACK) == b"hello"


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


async def test_fetch_asks_for_plain_bytes_and_gives_them():
    """A fetch is one GET without compression."""
    async with loopback(says(OK)) as server, guarded_client(LOOPBACK) as client:
        assert await fetch(server.url, LOOPBACK, client=client) == b"hello"
    assert "Accept-Encoding: identity" in server.requests[0]


def _redirect(location, status=302):
    return says(
        f"HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    )


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "http://10.0.0.1/",
     "https://[::1]/", "//169.254.169.254/", "http://[bad/"],
)  # fmt: skip
async def test_a_redirect_is_checked_like_the_first_address(location):
    """A public host cannot send us to the metadata service, to a file or to nonsense."""
    async with loopback(_redirect(location)) as server:
        with pytest.raises(UrlRefused):
            await fetch(server.url, LOOPBACK)
    assert len(server.requests) == 1


async def test_a_redirect_to_nonsense_is_refused():
    """A Location that is no address ends the fetch."""
    async with loopback(_redirect("http://host:port/")) as server:
        with pytest.raises(RequestError, match="RemoteProtocolError"):
            await fetch(server.url, LOOPBACK)


async def test_a_few_redirects_are_followed_and_a_loop_is_not():
    """Three redirects lead on, a fourth does not."""
    async with loopback(_redirect("/again", 307)) as server:
        with pytest.raises(UrlRefused, match="more than 3"):
            await fetch(server.url, LOOPBACK)
        assert len(server.requests) == 4
        server.requests.clear()

        async def third_time_lucky(writer):
            last = len(server.requests) == 4
            await (says(OK) if last else _redirect("/again", 301))(writer)

        server.speak = third_time_lucky
        assert await fetch(server.url, LOOPBACK) == b"hello"


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (says(HEAD + b"Content-Length: 1000000\r\n\r\nx"), "more than the 1000 bytes"),
        (says(HEAD + b"Content-Length: 900\r\n\r\nx"), "RemoteProtocolError"),
        (endless(CHUNKED, b"64\r\n" + b"x" * 100 + b"\r\n"), "more than the 1000 bytes"),
        (endless(HEAD + b"\r\n", b"x" * 100), "more than the 1000 bytes"),
        (says(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), "compressed"),
        (says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "404"),
        (says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "304"),
        (says(b"SSH-2.0-OpenSSH\r\n"), "RemoteProtocolError"),
        (says(b""), "RemoteProtocolError"),
    ],
    ids=["length-too-big", "length-lie", "endless-chunks", "endless-body", "gzip", "404", "304",
         "ssh", "hang-up"],
)  # fmt: skip
async def test_a_dishonest_answer_is_refused_with_its_reason(answer, why):
    """Whatever the server claims, at most the allowed bytes are taken."""
    async with loopback(answer) as server:
        with pytest.raises(RequestError, match=why):
            await fetch(server.url, LOOPBACK, max_bytes=1000)


@pytest.mark.parametrize(
    "answer",
    [
        endless(HEAD + b"Content-Length: 100000\r\n\r\n", b"x", pause_s=0.01),
        endless(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", pause_s=0.01),
    ],
    ids=["body", "head"],
)
async def test_a_slow_drip_meets_the_deadline(answer):
    """A server that always sends a little more does not hold us longer than the deadline."""
    started = asyncio.get_running_loop().time()
    async with loopback(answer) as server:
        with pytest.raises(RequestError, match=r"within 0\.1 s"):
            await fetch(server.url, LOOPBACK, deadline_s=0.1)
    assert asyncio.get_running_loop().time() - started < 5


async def test_a_host_that_is_away_is_the_askers_business():
    """No connection is a request error that names the host."""
    async with loopback(says(b"")) as server:
        url = server.url
    with pytest.raises(RequestError, match=r"127\.0\.0\.1 could not be read"):
        await fetch(url, LOOPBACK)
