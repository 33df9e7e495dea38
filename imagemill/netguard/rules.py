"""Which addresses are allowed: decided from text and from resolved IP addresses, without a network."""

import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Self

import httpx

from imagemill.errors import RequestError

MAX_URL_CHARS = 2048
PRIVATE_HOSTS_REMEDY = (
    "If this host is yours, add it to webhook_private_hosts / IMAGEMILL_WEBHOOK_PRIVATE_HOSTS."
)
NEVER_REMEDY = "No list can allow it; give the address of a receiver."

Address = IPv4Address | IPv6Address

# `ipaddress` of Python 3.11 calls several of these global (measured, facts/storage.md section 6),
# so IPv6 is judged by what is allowed, 2000::/3 (IANA, the only global unicast space in use).
_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
_SPECIAL = tuple(
    ip_network(block)
    for block in (
        "192.0.0.0/24",  # protocol assignments, its two anycast addresses included
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


class UrlRefused(RequestError):
    """An address that imagemill will not connect to. The message names the host, never the path."""

    error_class = "url_refused"


@dataclass(frozen=True)
class CheckedUrl:
    """An address that passed at the door. Its name is not resolved yet."""

    url: str
    scheme: str
    host: str
    port: int


@dataclass(frozen=True)
class Guard:
    """What may be connected to.

    Attributes:
        allow_http: Whether plain http is allowed to public hosts.
        allow_private_hosts: `host` or `host:port` (IPv6 as `::1` or `[::1]:8080`), lower case. These
            may have private addresses, use http, and use any port (or the one port named).
            Link-local (cloud metadata), multicast and unspecified addresses stay refused.
        ports: Allowed ports of public hosts.
    """

    allow_http: bool = False
    allow_private_hosts: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset({80, 443})

    @classmethod
    def of(cls, private_hosts: str) -> Self:
        """Build the default guard with a comma-separated list of private hosts."""
        names = (name.strip().lower().rstrip(".") for name in private_hosts.split(","))
        return cls(allow_private_hosts=frozenset(name for name in names if name))

    def lists(self, host: str, port: int) -> bool:
        """Return whether the operator listed this host as one of their own."""
        bracketed = f"[{host}]" if ":" in host else host
        return not self.allow_private_hosts.isdisjoint({host, bracketed, f"{bracketed}:{port}"})

    def check_url(self, url: str) -> CheckedUrl:
        """Check an address as far as possible without asking DNS.

        Raises:
            UrlRefused: Wrong form, scheme, user name, port, or a literal address that is not public.
        """
        parsed = _parse(url)
        host = _canonical_host(parsed)
        port = parsed.port or {"https": 443, "http": 80}.get(parsed.scheme, 0)
        self._check_scheme(parsed.scheme, host, port)
        if parsed.userinfo:
            raise UrlRefused(
                f"The address of {host} carries a user name or password.",
                remedy="Leave them out; deliveries are signed instead.",
            )
        if port not in self.ports and not self.lists(host, port):
            raise UrlRefused(
                f"Port {port} of {host} is not allowed; allowed are {_and(sorted(self.ports))}.",
                remedy=PRIVATE_HOSTS_REMEDY,
            )
        if host == "localhost" or host.endswith(".localhost"):
            self.check_addresses(host, port, ["127.0.0.1"])
        if literal_address(host) is not None:
            self.check_addresses(host, port, [host])
        return CheckedUrl(url=str(parsed), scheme=parsed.scheme, host=host, port=port)

    def _check_scheme(self, scheme: str, host: str, port: int) -> None:
        if scheme == "https" or (scheme == "http" and (self.allow_http or self.lists(host, port))):
            return
        raise UrlRefused(
            f"Only https addresses are allowed; got {scheme[:20]!r}.",
            remedy="Use https, or list your own host. " + PRIVATE_HOSTS_REMEDY,
        )

    def check_addresses(self, host: str, port: int, addresses: Iterable[str]) -> None:
        """Check what a name resolved to: every one of its addresses must be allowed.

        Raises:
            UrlRefused: At least one address is not public, or the name has none.
        """
        found = [ip_address(address.partition("%")[0]) for address in addresses]
        allowed = _is_anybodys if self.lists(host, port) else is_public
        if not found:
            raise UrlRefused(f"{host} has no address.", remedy="Check the name.")
        for address in found:
            if not allowed(address):
                itself = host == str(address)
                said = f"{host} is" if itself else f"{host} leads to {address}, which is"
                raise UrlRefused(
                    f"{said} not a public address.",
                    remedy=PRIVATE_HOSTS_REMEDY if _is_anybodys(address) else NEVER_REMEDY,
                )


def is_public(address: Address) -> bool:
    """Return whether an address is reachable by anyone on the internet.

    Addresses that carry an IPv4 address (mapped, NAT64, 6to4) are as public as that one; Teredo,
    IPv4-compatible and site-local addresses never are.
    """
    if isinstance(address, IPv6Address):
        if (inner := _carried_ipv4(address)) is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    special = any(address in network for network in _SPECIAL)
    return address.is_global and not address.is_multicast and not special


def _carried_ipv4(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_anybodys(address: Address) -> bool:
    """Return whether an address may be an operator's own host: no metadata service, no group."""
    plain = (_carried_ipv4(address) if isinstance(address, IPv6Address) else None) or address
    return not (plain.is_link_local or plain.is_multicast or plain.is_unspecified)


def _parse(url: str) -> httpx.URL:
    if len(url) > MAX_URL_CHARS:
        raise UrlRefused(f"An address has at most {MAX_URL_CHARS} characters; got {len(url)}.")
    if re.search(r"[\s\\\x00-\x1f\x7f]", url):
        raise UrlRefused("An address has no spaces, control characters or backslashes.")
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise UrlRefused("This is not an address.", remedy="Give https://host/path.") from error


def _canonical_host(parsed: httpx.URL) -> str:
    """Return the host in lower-case ASCII, odd spellings of IP addresses in their plain one."""
    host = parsed.raw_host.decode("ascii").lower().removesuffix(".")
    if (literal := literal_address(host)) is not None:
        return str(literal)
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused("The address has no valid host name.", remedy="Give https://host/path.")
    return host


def literal_address(host: str) -> Address | None:
    """Return the IP address that `host` spells, as the C library reads it: 127.1, 0x7f000001..."""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return ip_address(str(found[0][4][0]).partition("%")[0])


def _and(ports: Sequence[int]) -> str:
    return " and ".join(str(port) for port in ports)
