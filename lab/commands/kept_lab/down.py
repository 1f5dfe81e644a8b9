"""`overcast down`: removes the lab that `overcast up` keeps."""

from __future__ import annotations

import argparse
import contextlib

from lab.commands.kept_lab import rendezvous

SUMMARY = "Removes the lab that overcast up keeps; without a lab it does nothing."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Takes none."""


def run(arguments: argparse.Namespace) -> int:
    """Returns when the lab and the process that kept it are gone."""
    connection = rendezvous.connect()
    if connection is None:
        print("no lab is up: nothing to remove")
        return 0
    connection.ask(do="down")
    with contextlib.suppress(EOFError):
        connection.receive()
    print("the lab is down")
    return 0
