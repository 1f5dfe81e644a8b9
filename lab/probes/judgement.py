"""Received datagrams compared with the expected ones: missing, altered, duplicated, late and unexpected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lab.probes.datagrams import Sent


class Problem(NamedTuple):
    """What a host did not receive as expected, in a line; `late`: it came, after its deadline."""

    line: str
    late: bool = False


def problems(
    name: str, copies: int, stimuli: Sequence[Sent], in_time: Sequence[bytes], late: Sequence[bytes], waited: str
) -> list[Problem]:
    """A line for each payload that a host did not receive as often as expected, and for each that was not sent."""
    sent = [payload for stimulus in stimuli for payload in stimulus.payloads]
    heard = [*in_time, *(() if copies else late)]  # an unexpected datagram counts whenever it arrives
    found_wrong = []
    for payload in sent:
        found = heard.count(payload)
        if found == copies:
            continue
        shown = _named(payload, stimuli)
        if found < copies == found + late.count(payload):
            line = f"  late: {name} received {shown} after the deadline ({waited})"
            found_wrong.append(Problem(line, late=True))
        elif found < copies:
            altered = [other for other in heard if other not in sent]
            what = "altered" if altered else "missing"
            found_wrong.append(Problem(f"  {name}: {what}: received {found} of {copies} copies of {shown}"))
        elif found > copies and copies:
            found_wrong.append(Problem(f"  {name}: duplicated: received {found} copies of {shown}; expected {copies}"))
        elif found > copies:
            found_wrong.append(Problem(f"  {name}: unexpected: received {shown}; expected nothing"))
    strangers = [payload for payload in heard if payload not in sent]
    stray = "unexpected or altered"
    return [*found_wrong, *(Problem(f"  {name}: {stray}: {_short(one)}, which was not sent") for one in strangers)]


def wanted(expected: Mapping[str, int]) -> str:
    """What hosts are expected to hear: `hub, spoke2: each payload once; spoke1: nothing`."""
    hosts = {count: [name for name in expected if expected[name] == count] for count in expected.values()}
    said = {0: "nothing", 1: "each payload once"}
    return "; ".join(f"{', '.join(names)}: {said.get(count, f'{count} copies')}" for count, names in hosts.items())


def _named(payload: bytes, stimuli: Sequence[Sent]) -> str:
    """A payload as a message shows it, with its sender where there are several."""
    senders = dict.fromkeys(sent.node for sent in stimuli if payload in sent.payloads)
    several = len({sent.node for sent in stimuli}) > 1
    return _short(payload) + (f" from {', '.join(senders)}" if several else "")


def _short(payload: bytes) -> str:
    text = payload[:24].decode("ascii", "replace")
    return f"{text!r} ({len(payload)} octets)"
