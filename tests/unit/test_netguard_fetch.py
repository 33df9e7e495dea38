"""Whatever a server answers, a fetch takes few redirects, few bytes and little time."""

import asyncio

import pytest

from imagemill.errors import RequestError
from imagemill.netguard import Guard, UrlRefused, fetch, guarded_client
from tests.wire.loopback import endless, loopback, says

LOOPBACK = Guard.of("127.0.0.1")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def test_proxies_of_the_environment_are_ignored(monkeypatch):
    """A proxy in the environment would make the connection for us, unchecked."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with loopback(says(OK)) as server:
        assert await fetch(server.url, LOOPBACK) == b"hello"


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
