"""Addresses and servers that nobody should name for a reference image, and how each misbehaves."""

import gzip
from dataclasses import dataclass, field

from tests.unit.bad_pictures import PNG
from tests.wire.loopback import Speak, endless, says

HERE = "93.184.216.34"
"""The public address that stands for the misbehaving server; connections to it are let through."""
NAME = "pictures.example"
URL = f"http://{NAME}/a.png"
REBOUND = ([HERE], ["127.0.0.1"])


@dataclass(frozen=True)
class Address:
    """One address to fetch.

    Attributes:
        url: What somebody names.
        rule: Part of what they are told.
        dns: Answers for `NAME`, one a question.
        answer: What the server says when connected to; None expects no connection.
        connects: How many connections, all public, it may cost.
        deadline_s: Instead of the product's, for cases that would last as long.
        http: Whether plain http is allowed here; only to need no certificates.
    """

    url: str
    rule: str
    dns: tuple[list[str], ...] = ()
    answer: Speak | None = field(default=None, repr=False)
    connects: int = 0
    deadline_s: float = 30.0
    http: bool = False


PRIVATE = "is not a public address"
LITERALS = {
    "loopback": "127.0.0.1", "loopback, short": "127.1", "loopback, hexadecimal": "0x7f000001",
    "loopback, decimal": "2130706433", "loopback, octal": "017700000001",
 "loopback, ideographic full stops": "127。0。0。1",
    "loopback, trailing dot": "127.0.0.1.", "loopback by name": "localhost",
    "loopback below its name": "a.localhost", "loopback, IPv6": "[::1]",
    "loopback, mapped to IPv6": "[::ffff:127.0.0.1]", "loopback, IPv4-compatible": "[::127.0.0.1]",
    "loopback, NAT64": "[64:ff9b::7f00:1]", "loopback, 6to4": "[2002:7f00:1::]",
    "Teredo": "[2001:0:4136:e378:8000:63bf:80ff:fffe]", "unspecified": "0", "unspecified, IPv6": "[::]",
    "private network": "10.0.0.1", "private network, IPv6": "[fd00:ec2::254]",
    "carrier's network": "100.64.0.1", "site-local": "[fec0::1]", "6to4 relay": "192.88.99.1",
    "multicast": "224.0.0.1", "cloud metadata": "169.254.169.254",
    "cloud metadata, hexadecimal": "0xA9FEA9FE", "cloud metadata, mapped": "[::ffff:a9fe:a9fe]",
    "link-local, IPv6": "[fe80::1]",
}  # fmt: skip

FORMS = {
    "loopback, circled digits": Address("https://①②⑦.0.0.1/", "not an address"),
    "file://": Address("file:///etc/passwd", "no valid host name"),
    "file:// with a host": Address("file://localhost/etc/passwd", "Only https"),
    "gopher://": Address("gopher://pictures.example/", "Only https"),
    "plain http": Address("http://pictures.example/", "Only https"),
    "user name and password": Address("https://user:s3cret@pictures.example/", "user name"),
    "user name that looks like the host": Address("https://good.example@127.0.0.1/", "user name"),
    "backslash trick": Address("https://good.example\\@127.0.0.1/", "backslash"),
    "another port": Address("https://pictures.example:22/", "Port 22"),
    "no host": Address("https:///a.png", "no valid host name"),
    "zone in the address": Address("https://[fe80::1%25eth0]/", "no valid host name"),
    "longer than 2048 characters": Address("https://pictures.example/" + "a" * 2048, "2048"),
}

NAMES = {
    "name of a loopback address": Address(URL, PRIVATE, dns=(["127.0.0.1"],), http=True),
    "name of the metadata service": Address(URL, PRIVATE, dns=(["169.254.169.254"],), http=True),
    "name with one private address": Address(URL, PRIVATE, dns=([HERE, "10.0.0.1"],), http=True),
    "name of a NAT64 loopback": Address(URL, PRIVATE, dns=(["64:ff9b::7f00:1"],), http=True),
    "name that is nobody's": Address(URL, "ConnectError", http=True),
}

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BLOCK = b"x" * 65_536


def server(answer, rule, *, connects=1, dns=None, deadline_s=30.0):
    return Address(
        URL, rule, dns=dns or ([HERE],) * connects, answer=answer, connects=connects,
        deadline_s=deadline_s, http=True,
    )  # fmt: skip


def redirect(location):
    said = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    return says(said.encode())


def whole(body, *, more=b""):
    return says(HEAD + more + b"Content-Length: %d\r\n\r\n" % len(body) + body)


SERVERS = {
    "redirect to the metadata service": server(redirect("https://169.254.169.254/latest/"), PRIVATE),
    "redirect to loopback, decimal": server(redirect("https://2130706433/"), PRIVATE),
    "redirect to a private network": server(redirect("//10.0.0.1/"), PRIVATE),
    "redirect to a file": server(redirect("file:///etc/passwd"), "no valid host name"),
    "redirect loop": server(redirect("/again"), "redirects more than 3 times", connects=4),
    "rebinding: public, then loopback": server(redirect("/again"), PRIVATE, dns=REBOUND),
    "rebinding: asked once only": server(whole(b"<html>"), "not a PNG", dns=REBOUND),
    "Content-Length above the limit": server(
        says(HEAD + b"Content-Length: 20000001\r\n\r\nx"), "more than the 20000000 bytes"),
    "Content-Length lies: less comes": server(
        says(HEAD + b"Content-Length: 900\r\n\r\nx"), "RemoteProtocolError"),
    "Content-Length lies: more comes": server(
        says(HEAD + b"Content-Length: 40\r\n\r\n" + PNG), "damaged or cut off"),
    "endless body": server(endless(HEAD + b"\r\n", BLOCK), "more than the 20000000 bytes"),
    "endless body in chunks": server(
        endless(CHUNKED, b"10000\r\n" + BLOCK + b"\r\n"), "more than the 20000000 bytes"),
    "slow drip": server(
        endless(HEAD + b"Content-Length: 100000\r\n\r\n", b"x", pause_s=0.01),
        "did not give its whole answer", deadline_s=0.2),
    "slow drip in the headers": server(
        endless(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", pause_s=0.01),
        "did not give its whole answer", deadline_s=0.2),
    "gzip bomb as encoding": server(
        whole(gzip.compress(bytes(50_000_000), 9), more=b"Content-Encoding: gzip\r\n"),
        "compressed answer"),
    "gzip bomb as body": server(whole(gzip.compress(bytes(50_000_000), 9)), "not a PNG"),
    "page instead of a picture": server(whole(b"<!doctype html><html>"), "not a PNG"),
    "no such picture": server(
        says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "answered 404"),
    "another protocol": server(says(b"SSH-2.0-OpenSSH\r\n"), "RemoteProtocolError"),
    "hangs up": server(says(b""), "RemoteProtocolError"),
}  # fmt: skip

ADDRESSES = {
    **{name: Address(f"https://{host}/", PRIVATE) for name, host in LITERALS.items()},
    **FORMS,
    **NAMES,
    **SERVERS,
}
