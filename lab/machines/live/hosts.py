"""
Host specifications: which live machines a run is about, written as pytest-testinfra writes them.

    hub.example                                   a name: ssh, as `ssh hub.example` would
    opc@10.1.0.5                                  with a user
    ssh://opc@[2001:db8::5]:2222?sudo=true&python=/usr/bin/python3.9&timeout=20
    @hosts.txt                                    one of these a line; # begins a comment; or another tool's inventory

A list is separated by commas.  The first is the hub, the others are spoke1, spoke2, ..., unless the hosts' own state
or the topology to set up overrides it (`lab.topology.roles`).
Source: https://testinfra.readthedocs.io/en/latest/backends.html
"""

from __future__ import annotations

import codecs
import ipaddress
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote

from lab.errors import UsageProblem
from lab.machines.live import inventories

OPTION = "--hosts"
OF_A_FILE = f"{OPTION}=@"
LINE = "example of a line: ssh://opc@hub.example:2222?sudo=true"
EXAMPLE = f"{OPTION}=ssh://opc@hub.example?sudo=true,spoke1.example,ssh://opc@10.1.0.5:2222"
NAME = re.compile(r"\w[\w.+=~-]*", re.ASCII)
USER = re.compile(r"[\w.][\w.+@\\~-]*\$?", re.ASCII)


@dataclass(frozen=True)
class HostSpec:
    """One live host.  None: the value of ssh's own configuration, or of the option for all hosts."""

    position: int
    text: str
    """As the user wrote it."""
    host: str
    user: str | None = None
    port: int | None = None
    sudo: bool | None = None
    python: str = "python3"
    timeout: float | None = None
    """Seconds from the start of the connecting."""
    ssh_config: str | None = None
    ssh_identity_file: str | None = None
    hubs: int = 1
    """How many hosts, from the first on, are hubs."""
    standby: bool = False
    """It takes the hub's place when that is lost, and is not part of the overlay until then."""

    @property
    def is_hub(self) -> bool:
        return self.position < self.hubs

    @property
    def role(self) -> str:
        if self.standby:
            return "standby"
        if not self.is_hub:
            return f"spoke{self.position - self.hubs + 1}"
        return f"hub{self.position + 1}" if self.position else "hub"

    @property
    def destination(self) -> str:
        """`user@host:port`, with what was given."""
        host = f"[{self.host}]" if ":" in self.host and self.port else self.host
        return (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port else "")

    @property
    def label(self) -> str:
        """For messages: as the user named it, with its role where that is another word."""
        return self.destination if self.destination == self.role else f"{self.destination} ({self.role})"

    def variant(self, **parameters: str) -> str:
        """How the specification reads with other parameters: for advice."""
        before, _, query = self.text.partition("?")
        given = {**dict(parse_qsl(query)), **parameters}
        base = before if "://" in before else f"ssh://{before}"
        return base + "?" + "&".join(f"{key}={value}" for key, value in given.items())


def parse(text: str) -> tuple[HostSpec, ...]:
    """Parses a list of hosts, or `@FILE`; UsageProblem names what was found and expected, and an example."""
    elements = (
        _inventory(text[1:])
        if text.startswith("@")
        else [(OPTION, part.strip()) for part in text.split(",") if text.strip()]
    )
    specs: list[HostSpec] = []
    for where, element in elements:
        if not element:
            _refuse(where, "a host between the commas", f"nothing (element {len(specs) + 1} of {text!r} is empty)")
        specs.append(_spec(where, element, len(specs)))
        _refuse_twice(where, specs)
    if len(specs) < 2:
        found = f"one ({specs[0].text})" if specs else "none"
        _refuse(f"{OPTION}={text}" if text.startswith("@") else OPTION, "at least two hosts", found)
    return tuple(specs)


def _refuse(where: str, expected: str, found: str) -> NoReturn:
    example = f"\n  example: {EXAMPLE}" if where == OPTION else f"\n  {LINE}" if ", line " in where else ""
    raise UsageProblem(f"{where}: expected {expected}; found {found}{example}")


def _inventory(name: str) -> list[tuple[str, str]]:
    expected = "a text file with one host per line"
    if not name:
        _refuse(OF_A_FILE, expected, "no file name after the @")
    try:
        content = Path(name).expanduser().read_bytes()
    except OSError as error:
        instead = "a folder" if isinstance(error, IsADirectoryError) else f"none ({error.strerror})"
        _refuse(f"{OF_A_FILE}{name}", expected, instead)
    text = _text(name, content)
    if inventories.is_one(text):
        try:
            listed = inventories.specifications(Path(name).expanduser(), text)
        except inventories.InventoryProblem as problem:
            where = f"{name}, line {problem.line}" if problem.line else name
            raise UsageProblem(f"{where}: expected {problem.expected}; found {problem.found}") from None
        if not listed:
            raise UsageProblem(f"{OF_A_FILE}{name}: expected at least a hub and a spoke; found no host in the file")
        return [(name, each) for each in listed]
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        # a # inside a word is no comment
        element = re.sub(r"(^|\s)#.*", "", line).strip()
        where = f"{name}, line {number}"
        if re.search(r"[\s,]|^\[[^\]]*$", element):
            _refuse(where, "one host per line, or a valid Ansible inventory", f"{element!r}")
        if element:
            found.append((where, element))
    if not found:
        _refuse(f"{OF_A_FILE}{name}", "at least a hub and a spoke", "no host in the file")
    return found


def _text(name: str, content: bytes) -> str:
    """The text of an inventory, with or without a byte-order mark, as Windows' editors write one."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        convert = f"iconv -f UTF-16 -t UTF-8 {shlex.quote(name)} > {shlex.quote(f'{name}.utf8')}"
        _refuse(f"{name}, line 1", "UTF-8 text", f"UTF-16; convert it: {convert}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _refuse(f"{name}, line {line}", "UTF-8 text", f"the byte 0x{content[error.start]:02x}")


def _spec(where: str, text: str, position: int) -> HostSpec:
    scheme, separator, rest = text.rpartition("://")
    if separator and scheme != "ssh":
        _refuse(where, "the scheme ssh (ssh://USER@HOST)", f"the scheme {scheme!r} of {_shown(text)}")
    authority, _, query = rest.partition("?")
    authority = authority.removesuffix("/")
    if "/" in authority or "#" in authority:
        _refuse(where, "[user@]host[:port]", f"a path in {_shown(text)}")
    user, separator, address = authority.rpartition("@")
    if ":" in user:
        _refuse(where, "a user without a password (keys or an agent log in)", f"a password in {_shown(text)}")
    if separator and not USER.fullmatch(unquote(user)):
        _refuse(where, "a user name before the @", f"{user!r} in {_shown(text)}")
    host, port = _address(where, text, address)
    parameters = _parameters(where, text, query)
    return HostSpec(position, text, host, unquote(user) or None, port, **parameters)


def _shown(text: str) -> str:
    """The specification without a password that someone wrote into it."""
    return repr(re.sub(r":[^@/]*@", ":...@", text.partition("://")[2] or text))


def _address(where: str, text: str, address: str) -> tuple[str, int | None]:
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket or not _is_ipv6(host) or (rest and not rest.startswith(":")):
            _refuse(where, "an IPv6 address in brackets, [2001:db8::5]:22", f"{address!r}")
        return host, _port(where, text, rest[1:]) if rest else None
    if address.count(":") > 1:
        expected = f"brackets around an IPv6 address, ssh://[{address}]" if _is_ipv6(address) else "[user@]host[:port]"
        _refuse(where, expected, f"{address!r}")
    host, colon, port = address.partition(":")
    if not host:
        _refuse(where, "a host name or address", f"none in {_shown(text)}")
    if not NAME.fullmatch(host):
        _refuse(where, "a host name or address", f"{host!r}")
    return host, _port(where, text, port) if colon else None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _port(where: str, text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        _refuse(where, "a port from 1 to 65535", f"{port!r} in {_shown(text)}")
    return int(port)


def _truth(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return value.lower() == "true"


def _seconds(value: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII) or float(value) <= 0:
        raise ValueError("seconds, more than 0")
    return float(value)


def _word(value: str) -> str:
    if not value or not value.isprintable() or value.startswith("-"):
        raise ValueError("a path or name")
    return value


PARAMETERS: dict[str, Callable[[str], Any]] = {
    "sudo": _truth,
    "python": _word,
    "timeout": _seconds,
    "ssh_config": _word,
    "ssh_identity_file": _word,
}


def _parameters(where: str, text: str, query: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in PARAMETERS:
            _refuse(where, f"one of the parameters {', '.join(PARAMETERS)}", f"{name!r} in {_shown(text)}")
        if name in found:
            _refuse(where, f"the parameter {name} once", f"it twice in {_shown(text)}")
        try:
            found[name] = PARAMETERS[name](value)
        except ValueError as error:
            _refuse(where, f"{name}={error}", f"{name}={value} in {_shown(text)}")
    return found


def _refuse_twice(where: str, specs: list[HostSpec]) -> None:
    *before, last = specs
    for spec in before:
        if (spec.host.lower(), spec.port or 22) == (last.host.lower(), last.port or 22):
            _refuse(where, "every host once", f"{last.destination!r} as {spec.role} and as {last.role}")
