"""
Frames as a capture file: pcapng, in which each frame names the node and interface where it was (opens in Wireshark).

Written directly: a failing test does it while others wait, and nothing needs to be taken apart for it.
Source: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from lab.probes.capture.sightings import Sighting

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
BYTE_ORDER = 0x1A2B3C4D
ETHERNET = 1
COMMENT, IF_NAME, IF_TSRESOL, EPB_FLAGS = 1, 2, 9, 2
NANOSECONDS = bytes([9])
INBOUND, OUTBOUND = 1, 2


def pcapng(seen: Sequence[Sighting], most: int) -> bytes:
    """The frames in their order, with times in ns; of more than `most` the last ones, noted in the file's comment."""
    interfaces: dict[str, int] = {}
    comment = f"the last {most} of {len(seen)} frames" if len(seen) > most else "all frames"
    options = _option(COMMENT, comment.encode()) + _option(0)
    blocks = [_block(SECTION, struct.pack("=IHHq", BYTE_ORDER, 1, 0, -1) + options)]
    for sighting in seen[-most:]:
        name = f"{sighting.node} {sighting.interface}"
        if name not in interfaces:
            interfaces[name] = len(interfaces)
            options = _option(IF_NAME, name.encode()) + _option(IF_TSRESOL, NANOSECONDS) + _option(0)
            blocks.append(_block(INTERFACE, struct.pack("=HHI", ETHERNET, 0, 0) + options))
        frame = sighting.frame
        head = struct.pack(
            "=IIIII", interfaces[name], sighting.time >> 32, sighting.time & 0xFFFFFFFF, len(frame), len(frame)
        )
        flags = struct.pack("=I", OUTBOUND if sighting.outgoing else INBOUND)
        blocks.append(_block(PACKET, head + _padded(frame) + _option(EPB_FLAGS, flags) + _option(0)))
    return b"".join(blocks)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("=I", 12 + len(body))
    return struct.pack("=I", kind) + length + body + length


def _option(code: int, value: bytes = b"") -> bytes:
    return struct.pack("=HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
