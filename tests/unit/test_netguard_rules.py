"""Which addresses imagemill connects to on somebody else's word: public ones, or listed hosts."""

from ipaddress import ip_address

import pytest

from imagemill.netguard import Guard, UrlRefused, is_public

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
