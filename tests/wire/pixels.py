"""Small PNGs, made by hand: a fake server that serves a thousand a second has no time for Pillow."""

import hashlib
import struct
import zlib
from functools import lru_cache

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SIDES = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def sides_px(*, side_px: int, aspect_ratio: str = "1:1", size: str = "") -> tuple[int, int]:
    """Width and height of the area of a square of `side_px`; 0 takes the side that `size` names."""
    side = side_px or _SIDES.get(size, 1024)
    wide, high = (int(part) for part in aspect_ratio.split(":"))
    factor = (wide / high) ** 0.5
    return max(4, round(side * factor)), max(4, round(side / factor))


@lru_cache(maxsize=8)
def _rows(width_px: int, height_px: int, noise: bool) -> bytes:
    """Filter byte 0 and RGB, row by row: a soft slope, or noise that does not compress."""
    if noise:
        block = b"".join(
            hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(width_px * 3 // 32 + 1)
        )
        rows = (block[y % 31 :] + block[: y % 31] for y in range(height_px))
        return b"".join(b"\0" + row[: width_px * 3] for row in rows)
    return b"".join(
        b"\0" + bytes((90 + y % 120, 140, 200 - y % 120)) * width_px for y in range(height_px)
    )


def png(unique: bytes, *, width_px: int, height_px: int, noise: bool = False) -> bytes:
    """One RGB PNG whose first four pixels are drawn from the digest of `unique`."""
    rows = bytearray(_rows(width_px, height_px, noise))
    rows[1:13] = hashlib.sha256(unique).digest()[:12]
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(rows), 0 if noise else 1)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")
