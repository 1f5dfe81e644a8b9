"""Attachments to the Allure result of the running test; without Allure they are dropped silently."""

from __future__ import annotations

import contextlib
import importlib.util
import json

from reports.plain import shown

if importlib.util.find_spec("allure") is not None:
    import allure

    PRESENT = True
else:
    PRESENT = False

# How a pcapng file begins: the type of its section header block.
PCAPNG = bytes.fromhex("0a0d0d0a")


def attach_text(name: str, text: str) -> None:
    """Attach plain text, such as a transcript or the state of a node."""
    if PRESENT:
        allure.attach(text, name, allure.attachment_type.TEXT)


def attach_json(name: str, value: object) -> None:
    """Attach a value as JSON; what JSON has no form for is written as its text."""
    if PRESENT:
        allure.attach(json.dumps(value, indent=1, default=str), name, allure.attachment_type.JSON)


def attach_pcap(name: str, capture: bytes) -> None:
    """Attach a packet capture in pcap or pcapng format."""
    if PRESENT and capture.startswith(PCAPNG):
        allure.attach(capture, name, "application/x-pcapng", extension="pcapng")
    elif PRESENT:
        allure.attach(capture, name, allure.attachment_type.PCAP)


def show_step(title: str, failure: str = "") -> None:
    """Show a step of the running test: passed, or failed with its reason."""
    if PRESENT:
        with contextlib.suppress(AssertionError), allure.step(shown(title)):
            if failure:
                raise AssertionError(shown(failure))
