"""cloud-init's user data: the shell script and its unit, written at the first boot (module write_files)."""

from __future__ import annotations

import textwrap

from lab.boot import common
from lab.boot.common import Files, head
from lab.boot.formats import shell
from lab.model import NodePlan, Topology

FILE = "user-data"


def files(topology: Topology, node: NodePlan) -> Files:
    """One file, for the cloud's field `user data`; it holds the others."""
    written = {**common.files(topology, node), **shell.files(topology, node)}
    entries = "".join(_entry(path, text) for path, text in written.items())
    # a later boot runs the unit alone
    commands = [f"modprobe -a {' '.join(common.modules(topology, node))}", shell.START]
    return {
        FILE: "#cloud-config\n"
        + head("the overlay, at the first boot (cloud-init)")
        + f"write_files:\n{entries}runcmd:\n"
        + "".join(f"  - {command}\n" for command in commands)
    }


def _entry(path: str, text: str) -> str:
    mode = "0755" if text.startswith("#!") else "0644"
    return f"  - path: {path}\n    permissions: '{mode}'\n    content: |\n{textwrap.indent(text, ' ' * 6)}"
