"""
Redaction: other names and addresses in place of a bundle's, the same one for the same each time.

Who is in one subnet stays in one subnet, a broadcast address stays one, and the diagnosis finds the same.  Networks are
mapped, the host's part of an address and addresses that RFCs define (loopback, link-local, groups) are kept.

    10.0.0.25/24 -> 87.203.140.25/24     hub.example -> hub     02:00:0a:00:00:19 -> 02:00:57:cb:8c:19
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Any, TypeVar

from lab.bundles.bundle import ADDRESSES, Case
from lab.bundles.headers import addresses_in
from lab.probes.capture.sightings import Sighting

MAC = r"(?<![\w:])(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}(?![\w:])"
IPV4 = r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?![\w]|\.\d)"
IPV6 = r"(?<![\w:.])[0-9a-fA-F:]*:[0-9a-fA-F]*:[0-9a-fA-F:]*(?![\w:])"
ADDRESS = re.compile(f"{MAC}|{IPV4}|{IPV6}")
LOW, HIGH = tuple(range(1, 127)), tuple(one for one in range(128, 224) if one != 169)
"""First octets of unicast addresses, in two halves: a route to half of all addresses has the same ones in it."""
OWN_MAC = bytes((2, 0))
"""How the lab begins a MAC address that it makes from an IPv4 address (`model.mac_of`)."""
HOME = re.compile(r"(/(?:home|Users)/)[^/\s\"']+")
COMMON_USERS = ("root",)

Kept = TypeVar("Kept")


class Redaction:
    """One mapping of names and addresses."""

    def __init__(self, cases: Iterable[Case], names: Mapping[str, str]) -> None:
        """`names`: what else is to be replaced, and by what."""
        cases = list(cases)
        self._key = secrets.token_bytes(16)
        self._shifts = [1 + secrets.randbelow(len(half) - 1) for half in (LOW, HIGH)]
        self._connected = _connected(cases)
        self._names = {**dict(_names(cases)), **names}
        words = sorted((word for word in self._names if word), key=len, reverse=True)
        self._words = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, words))})(?![\w-])") if words else None

    def text(self, text: str) -> str:
        """A text with other names and addresses."""
        if self._words:
            text = self._words.sub(lambda found: self._names[found[0]], text)
        return HOME.sub(r"\1user", ADDRESS.sub(lambda found: self._address(found[0]), text))

    def data(self, value: Kept) -> Kept:
        """Builtins with other names and addresses."""
        made: Kept = self._mapped(value)
        return made

    def case(self, case: Case) -> Case:
        """A case with other names and addresses."""
        return Case(self._mapped(case.scene), {role: role for role in case.names})

    def _mapped(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, ADDRESSES):
            return type(value)(self.text(str(value)))
        if isinstance(value, Mapping):
            return {self._mapped(key): self._mapped(each) for key, each in value.items()}
        if isinstance(value, (list, tuple, frozenset)):
            return type(value)(map(self._mapped, value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: self._mapped(getattr(value, field.name)) for field in dataclasses.fields(value)}
            if isinstance(value, Sighting):
                fields["frame"] = self._frame(value.frame, value.vxlan_port)
            if "alias" in fields:
                fields["alias"] = None  # a name of the user's for a device
            return type(value)(**fields)
        return value

    def _frame(self, frame: bytes, vxlan_port: int) -> bytes:
        made = bytearray(frame)
        mapping: dict[int, Callable[[bytes], bytes]] = {4: self._ipv4, 6: self._mac, 16: self._ipv6}
        for at, size in addresses_in(frame, vxlan_port):
            made[at : at + size] = mapping[size](frame[at : at + size])
        return bytes(made)

    def _address(self, text: str) -> str:
        if text.count(":") == 5 and re.fullmatch(MAC, text):
            return ":".join(f"{octet:02x}" for octet in self._mac(bytes.fromhex(text.replace(":", ""))))
        bare, slash, length = text.partition("/")
        try:
            address = ip_address(bare)
        except ValueError:
            return text
        if address.version == 6:
            return str(IPv6Address(self._ipv6(address.packed)))
        return f"{IPv4Address(self._ipv4(address.packed, int(length or 32)))}{slash}{length}"

    def _bit(self, prefix: int, length: int) -> int:
        """Whether the bit after a prefix is inverted: the same for all addresses with that prefix."""
        return (
            hashlib.blake2b(prefix.to_bytes(16, "big") + bytes([length]), key=self._key, digest_size=1).digest()[0] & 1
        )

    def _flipped(self, number: int, width: int, first: int, last: int) -> int:
        for at in range(first, last):
            number ^= self._bit(number >> (width - at), at) << (width - at - 1)
        return number

    def _ipv4(self, packed: bytes, length: int = 32) -> bytes:
        address = IPv4Address(packed)
        half = LOW if packed[0] in LOW else HIGH if packed[0] in HIGH else None
        if half is None or address.is_link_local:
            return packed
        number = int(address)
        covering = [net.prefixlen for net in self._connected if address in net]
        last = min(covering, default=32)
        if length < last and not number & ((1 << (32 - length)) - 1):
            last = length  # a network's own address
        if last < 8:
            return packed
        number = self._flipped(number, 32, 8, last)
        shift = self._shifts[half is HIGH]
        octet = half[(half.index(packed[0]) + shift) % len(half)]
        return (octet << 24 | number & 0xFFFFFF).to_bytes(4, "big")

    def _ipv6(self, packed: bytes) -> bytes:
        address = IPv6Address(packed)
        if address.is_multicast or address.is_unspecified or address.is_loopback:
            return packed
        number = int(address)
        if not address.is_link_local:
            number = self._flipped(number, 128, 16, 64)
        made = number.to_bytes(16, "big")
        if made[11:13] == b"\xff\xfe":  # made of a MAC address (RFC 4291, appendix A)
            mac = self._mac(bytes([made[8] ^ 2]) + made[9:11] + made[13:16])
            made = made[:8] + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:6]
        return made

    def _mac(self, packed: bytes) -> bytes:
        if packed[0] & 1 or not any(packed):
            return packed
        if packed[:2] == OWN_MAC:
            return OWN_MAC + self._ipv4(packed[2:])
        return b"\x06" + hashlib.blake2b(packed, key=self._key, digest_size=5).digest()


def _connected(cases: Iterable[Case]) -> list[IPv4Network]:
    """The subnets of the hosts' addresses: inside the widest one an address belongs to, its last bits are kept."""
    found = set()
    for case in cases:
        for host in case.scene.hosts.values():
            every = [host.plan.underlay, host.plan.overlay, *(each for _, each in host.seen.addresses)]
            found |= {each.network for each in every if 8 <= each.network.prefixlen <= 30}
    return list(found)


def _names(cases: Iterable[Case]) -> Iterable[tuple[str, str]]:
    """What the user calls the hosts, and their roles; user names of logins."""
    for case in cases:
        for role, destination in case.names.items():
            user, _, host = destination.rpartition("@")
            bare = re.sub(r"^\[(.*)\]|:\d+$", r"\1", host)
            yield from ((word, role) for word in (destination, host, bare, bare.partition(".")[0]) if word != role)
            if user and user not in COMMON_USERS:
                yield user, "user"
