"""
Which frames a tap on a busy host keeps: all but UDP and TCP of other programs, as a classic BPF program (packet(7)).

    IPv4 UDP or TCP, bare or inside VXLAN or GRE: kept when a port is one of the run's      everything else: kept

A production host sends thousands of frames a second; the kernel drops here what would fill the capture's buffer.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

SO_ATTACH_FILTER = 26
LOAD_HALF, LOAD_BYTE = 0x28, 0x30  # ldh [k], ldb [k]
LOAD_HALF_BEHIND, LOAD_BYTE_BEHIND = 0x48, 0x50  # ldh [x + k], ldb [x + k]
LOAD_HEADER_LENGTH = 0xB1  # ldx 4 * ([k] & 0xf)
EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x15, 0x35, 0x45, 0x06
ALL, NONE = 0xFFFFFFFF, 0
NO_FRAME = [(RETURN, 0, 0, NONE)]
"""The program that keeps nothing."""

ETHERNET, ETHERTYPE, FRAGMENT, PROTOCOL = 14, 12, 20, 23  # offsets in an untagged frame that holds IPv4
IPV4, TCP, UDP, GRE = 0x0800, 6, 17, 47
PLAIN, FRAGMENTED, TRANSPARENT_ETHERNET = 0x45, 0x3FFF, 0x6558
VXLAN_HEADERS, GRE_HEADER = 16, 4  # octets between the outer IPv4 header and the inner frame

KEEP, DROP, NEXT, SKIP = "keep", "drop", "", "skip"
FilterStep = tuple[int, int, str, str]
"""Code, operand, where to go when it holds and when it does not: a label, NEXT (step), or SKIP for the one after."""


def program(first: int, last: int, vxlan: int) -> list[tuple[int, int, int, int]]:
    """The instructions (code, jump if true, jump if false, operand); ports of the run are `first` to `last`."""
    blocks: dict[str, list[FilterStep]] = {
        "outer": [
            (LOAD_HALF, ETHERTYPE, NEXT, NEXT),
            (EQUAL, IPV4, NEXT, KEEP),
            (LOAD_HALF, FRAGMENT, NEXT, NEXT),
            (ANY_BIT, FRAGMENTED, KEEP, NEXT),
            (LOAD_HEADER_LENGTH, ETHERNET, NEXT, NEXT),
            (LOAD_BYTE, PROTOCOL, NEXT, NEXT),
            (EQUAL, UDP, "ports", NEXT),
            (EQUAL, TCP, "ports", NEXT),
            (EQUAL, GRE, "gre", KEEP),
        ],
        "ports": [
            *_in_range(ETHERNET, first, last),
            *_in_range(ETHERNET + 2, first, last),
            (EQUAL, vxlan, "vxlan", DROP),  # the destination port is still loaded
        ],
        "vxlan": _inner(ETHERNET + VXLAN_HEADERS, first, last),
        "gre": [
            (LOAD_HALF_BEHIND, ETHERNET, NEXT, NEXT),
            (EQUAL, 0, NEXT, KEEP),  # with a key or a checksum the frame begins later
            (LOAD_HALF_BEHIND, ETHERNET + 2, NEXT, NEXT),
            (EQUAL, TRANSPARENT_ETHERNET, NEXT, KEEP),
            *_inner(ETHERNET + GRE_HEADER, first, last),
        ],
        KEEP: [(RETURN, ALL, NEXT, NEXT)],
        DROP: [(RETURN, NONE, NEXT, NEXT)],
    }
    steps = [step for block in blocks.values() for step in block]
    starts, position = {}, 0
    for name, block in blocks.items():
        starts[name] = position
        position += len(block)

    def distance(label: str, at: int) -> int:
        return {NEXT: 0, SKIP: 1}[label] if label in (NEXT, SKIP) else starts[label] - at - 1

    return [(code, distance(yes, at), distance(no, at), k) for at, (code, k, yes, no) in enumerate(steps)]


def _in_range(offset: int, first: int, last: int) -> list[FilterStep]:
    """Keeps a packet whose port at an offset behind the IPv4 header is one of the run's."""
    return [(LOAD_HALF_BEHIND, offset, NEXT, NEXT), (AT_LEAST, first, NEXT, SKIP), (AT_LEAST, last + 1, NEXT, KEEP)]


def _inner(frame: int, first: int, last: int) -> list[FilterStep]:
    """The same for the frame that begins so many octets behind the outer IPv4 header."""
    ports = frame + ETHERNET + 20
    return [
        (LOAD_HALF_BEHIND, frame + ETHERTYPE, NEXT, NEXT),
        (EQUAL, IPV4, NEXT, KEEP),
        (LOAD_BYTE_BEHIND, frame + ETHERNET, NEXT, NEXT),
        (EQUAL, PLAIN, NEXT, KEEP),
        (LOAD_HALF_BEHIND, frame + FRAGMENT, NEXT, NEXT),
        (ANY_BIT, FRAGMENTED, KEEP, NEXT),
        (LOAD_BYTE_BEHIND, frame + PROTOCOL, NEXT, NEXT),
        (EQUAL, UDP, SKIP, NEXT),
        (EQUAL, TCP, NEXT, KEEP),
        *_in_range(ports, first, last),
        *_in_range(ports + 2, first, last),
        (RETURN, NONE, NEXT, NEXT),
    ]


def attach(tap: socket.socket, steps: Sequence[tuple[int, int, int, int]]) -> None:
    """Keep of what comes from now on only the frames that a program returns."""
    array = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    # struct sock_fprog: the number of steps, padding up to a pointer, and where they are
    tap.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(steps), ctypes.addressof(array)))
