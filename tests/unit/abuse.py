"""The table of abused input: each case tried for real, and docs/abuse.md written from what was said.

python -m tests.unit.abuse      # writes docs/abuse.md anew
"""

import asyncio
import os
import socket
import tempfile
import warnings
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpcore
import pytest

from imagemill import intake
from imagemill.errors import RequestError
from imagemill.intake import load_reference, take_in
from imagemill.netguard import Guard, fetch
from tests.unit.bad_addresses import ADDRESSES, HERE, NAME, Address
from tests.unit.bad_pictures import HARMLESS, PNG, REFUSED
from tests.wire.loopback import loopback, says

PAGE = Path(__file__).resolve().parents[2] / "docs" / "abuse.md"


@dataclass(frozen=True)
class Outcome:
    """What the asker was told, and where connections were tried to go."""

    said: str
    connected: tuple[str, ...] = ()


async def told(asked: Awaitable[object]) -> str:
    """Return what the asker is told; anything but a RequestError with a remedy is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            await asked
        except RequestError as error:
            if error.remedy:
                return str(error)
            raise AssertionError(f"No remedy: {error.message}") from error
    raise AssertionError("It was taken.")


async def picture(data: bytes) -> Outcome:
    """Take in bytes as a reference image."""
    return Outcome(await told(asyncio.to_thread(take_in, data)))


async def made_harmless(data: bytes) -> Outcome:
    """Take in bytes and say what is sent on."""
    taken = await asyncio.to_thread(take_in, data)
    assert b"hidden" not in taken.data
    return Outcome(f"Taken as {taken.width_px} x {taken.height_px} px of plain RGB.")


PATHS = {
    "outside of the allowed folders": "{root}/../outside.png",
    "link that leads outside": "{root}/link.png",
    "system file": "/etc/passwd",
    "missing file": "{root}/missing.png",
    "folder": "{root}",
    "pipe that never speaks": "{root}/pipe",
    "link to itself": "{root}/loop",
    "zero byte in the name": "{root}/a\0.png",
}


@contextmanager
def allowed_folder() -> Iterator[Path]:
    """Make a folder that may be read, with traps in it and a picture beside it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "root"
        root.mkdir()
        outside = root.parent / "outside.png"
        outside.write_bytes(PNG)
        (root / "link.png").symlink_to(outside)
        (root / "loop").symlink_to("loop")
        os.mkfifo(root / "pipe")
        yield root


async def path(name: str) -> Outcome:
    """Load a reference image from a path; the allowed folder is shown as /allowed."""
    with allowed_folder() as root:
        source = PATHS[name].format(root=root)
        said = await told(load_reference(source, [root], guard=Guard()))
        return Outcome(said.replace(str(root), "/allowed"))


async def address(case: Address) -> Outcome:
    """Load a reference image from an address, on an internet that holds one misbehaving server."""
    guard = Guard(allow_http=case.http)
    async with internet(case) as connected:
        said = await told(load_reference(case.url, [], guard=guard))
    # Python 3.13 writes mapped addresses with dots.
    for dotted, plain in (("127.0.0.1", "7f00:1"), ("169.254.169.254", "a9fe:a9fe")):
        said = said.replace(f"::ffff:{dotted}", f"::ffff:{plain}")
    return Outcome(said, tuple(connected))


@asynccontextmanager
async def internet(case: Address) -> AsyncIterator[list[str]]:
    """Answer names by the case and connect `HERE` to its server; yields where connections went.

    Nothing else is reached: a connection to any other address is noted and refused.
    """
    connected: list[str] = []
    answers = list(case.dns)
    connect = httpcore.AnyIOBackend.connect_tcp

    async def resolved(_loop, host, port, **_options):
        if host != NAME or not answers:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        found = answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found]

    async def counted(backend, host, port, **options):
        connected.append(host)
        if host != HERE or case.answer is None:
            raise httpcore.ConnectError("nobody is there")
        return await connect(backend, "127.0.0.1", served.port, **options)

    async with loopback(case.answer or says(b"")) as served:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolved)
            patch.setattr(httpcore.AnyIOBackend, "connect_tcp", counted)
            patch.setattr(intake, "fetch", partial(fetch, deadline_s=case.deadline_s))
            yield connected


TOP = """# Abused input

What somebody may name as a reference image, and what they are told. Every line was tried by `tests/unit/test_abuse.py`, which also holds
this page to it (`python -m tests.unit.abuse` writes it anew). Nothing here crashes, nothing is paid, and no connection goes to an address
that is not public: *connections* counts those that were made, each to the public address that had been checked. Webhook addresses pass the
same guard, and learn how hosts of one's own are listed ([where events may go](webhooks.md#where-events-may-go)).
"""


async def page() -> str:
    """Return docs/abuse.md, from trying every case."""
    pictures = [f"| {name} | {(await picture(REFUSED[name][0])).said} |" for name in REFUSED]
    taken = [f"| {name} | {(await made_harmless(HARMLESS[name])).said} |" for name in HARMLESS]
    paths = [f"| {name} | {(await path(name)).said} |" for name in PATHS]
    addresses = []
    for name, case in ADDRESSES.items():
        outcome = await address(case)
        shown = case.url if len(case.url) < 60 else f"{case.url[:30]}…"
        addresses.append(f"| {name} | `{shown}` | {outcome.said} | {len(outcome.connected)} |")
    parts = [
        TOP,
        "## Pictures that are refused\n",
        "| input | what is said |\n|---|---|",
        *pictures,
        "\n## Pictures that are made harmless\n",
        "Decoded and drawn anew: no metadata, no profile, no alpha, no other frame, no tail.\n",
        "| input | what becomes of it |\n|---|---|",
        *taken,
        "\n## Paths\n",
        "The folder `/allowed` may be read. Whether a file outside of it exists is not said.\n",
        "| input | what is said |\n|---|---|",
        *paths,
        "\n## Addresses\n",
        f"`{NAME}` stands for a server that misbehaves, by plain http to need no certificate. The drips were given 0.2 s; usually it is 30 s.\n",
        "| input | address | what is said | connections |\n|---|---|---|---|",
        *addresses,
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(asyncio.run(page()), "utf-8")
