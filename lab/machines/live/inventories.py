"""
Hosts as other tools list them, rewritten as specifications (`lab.machines.live.hosts`), a group `hub` first.

    [hub]                                                Ansible's INI, as far as it has groups and variables of hosts
    gate ansible_host=10.0.0.197 ansible_user=opc
    {"_meta": {"hostvars": {...}}, "hub": {"hosts": [...]}, ...}      ansible-inventory --list: any inventory of Ansible
    all: {children: {hub: {hosts: ...}}}                 Ansible's YAML, which ansible-inventory reads, where it is
    {"hub": {"value": "10.0.0.197"}, "spokes": {"value": [...]}}      terraform output -json

Sources: Ansible's guide "How to build your inventory"; `terraform output -help`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

HUBS = ("hub", "hubs")
SECTION = re.compile(r"\[([^\]:]+)(?::(\w+))?\]\s*(?:[#;].*)?")
VARIABLE = re.compile(r"^[^#;]*\sansible_\w+=")
RANGE = re.compile(r"\[\w*:\w*\]")
IPV6 = re.compile(r"\[[0-9A-Fa-f:.]+\]")
VARIABLES = {
    "host": "ansible_host",
    "user": "ansible_user",
    "port": "ansible_port",
    "key": "ansible_ssh_private_key_file",
    "python": "ansible_python_interpreter",
    "sudo": "ansible_become",
}
PROGRAM = "ansible-inventory"
MOST_SAID = 300  # characters of its complaint
YAML = re.compile(r"---\s*|[\w-]+:\s*(#.*)?")
"""A line of YAML alone: a mapping that goes on below, or the start of a document."""
YAML_REJECTED = re.compile(r"yaml'? plugin: (.*\S)")
YES = ("true", "yes", "1", "on")


class InventoryProblem(ValueError):
    """What was expected, and what was found, in the file or at a line of it (`line`, 0: in all of it)."""

    def __init__(self, expected: str, found: str, line: int = 0) -> None:
        super().__init__(expected, found)
        self.expected, self.found, self.line = expected, found, line


def is_one(text: str) -> bool:
    """Whether a text is an inventory of another tool, and not a list of one host a line."""
    ini = any(SECTION.fullmatch(line.strip()) or VARIABLE.search(line) for line in text.splitlines())
    return text.lstrip().startswith("{") or ini or _is_yaml(text)


def _is_yaml(text: str) -> bool:
    return any(YAML.fullmatch(line) for line in text.splitlines())


def specifications(path: Path, text: str) -> list[str]:
    """The hosts of a file as specifications, those of a group `hub` first; Misread when it cannot be understood."""
    if _is_yaml(text):
        text = _by_ansible(path)
    if not text.lstrip().startswith("{"):
        if _is_json(text):
            raise InventoryProblem("a JSON object, as ansible-inventory and terraform output print it", "a JSON list")
        return [_spec(name, variables) for name, variables in _in_order(*_ini(text))]
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InventoryProblem("JSON of ansible-inventory or of terraform output", f"invalid JSON ({error})") from None
    if "_meta" in document:
        groups = {name: list(group.get("hosts", ())) for name, group in document.items() if name != "_meta"}
        variables = document["_meta"].get("hostvars", {})
        hosts = {name: variables.get(name, {}) for members in groups.values() for name in members}
        return [_spec(name, variables) for name, variables in _in_order(hosts, groups)]
    return list(_of_terraform(document))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _by_ansible(path: Path) -> str:
    """What Ansible itself makes of an inventory."""
    beside = Path(sys.executable).parent
    program = shutil.which(PROGRAM) or shutil.which(PROGRAM, path=beside)
    if program is None:
        raise InventoryProblem(
            f"{PROGRAM}, which reads YAML, or what it prints elsewhere ({PROGRAM} -i FILE --list)", "neither"
        )
    strict = {**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    done = subprocess.run([program, "-i", path, "--list"], env=strict, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InventoryProblem("a valid YAML inventory", f"an error that {PROGRAM} reports: {_why(done.stderr)}")
    return done.stdout


def _why(said: str) -> str:
    """What Ansible rejects in a file of YAML: it tries every kind of inventory, and prints why it is none of them."""
    found = YAML_REJECTED.search(said)
    return (found[1] if found else " ".join(said.split()))[:MOST_SAID]


def _in_order(
    hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> list[tuple[str, Mapping[str, Any]]]:
    first = [name for group in HUBS for name in groups.get(group, ())]
    return [(name, hosts[name]) for name in dict.fromkeys([*first, *hosts])]


def _ini(text: str) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
    hosts: dict[str, dict[str, str]] = {}
    groups: dict[str, list[str]] = {}
    of_groups: dict[str, dict[str, str]] = {}
    group, kind = "ungrouped", "hosts"
    for number, line in enumerate(text.splitlines(), 1):
        words = _words(line, number)
        if not words:
            continue
        if section := SECTION.fullmatch(line.strip()):
            group, kind = section[1], section[2] or "hosts"
            if kind not in ("hosts", "vars", "children"):
                raise InventoryProblem("[group], [group:vars] or [group:children]", line.strip(), number)
        elif _is_broken_section(line.strip()):
            missing = "" if "]" in line else "a ] at the end of the group's name: "
            raise InventoryProblem(f"{missing}[group], [group:vars] or [group:children]", repr(line.strip()), number)
        elif kind == "vars":
            name, _, value = line.partition("=")
            of_groups.setdefault(group, {})[name.strip()] = value.strip()
        elif kind == "hosts":
            if RANGE.search(words[0]):
                raise InventoryProblem(
                    "each host by itself (or: ansible-inventory -i FILE --list > hosts.json)", words[0], number
                )
            given = [word.partition("=") for word in words[1:] if "=" in word]
            hosts.setdefault(words[0], {}).update({name: value for name, _, value in given})
            groups.setdefault(group, []).append(words[0])
    for host, own in hosts.items():
        # a host's own variables count before its groups', and these before those of all
        of_its = [of_groups.get("all", {}), *(of_groups[name] for name in of_groups if host in groups.get(name, ()))]
        hosts[host] = {**{name: value for each in of_its for name, value in each.items()}, **own}
    return hosts, groups


def _is_broken_section(line: str) -> bool:
    """A line that begins as the name of a group, and is neither one nor a host: a range, or an IPv6 address."""
    return line.startswith("[") and (line.endswith("]") or "]" not in line) and not IPV6.fullmatch(line)


def _words(line: str, number: int) -> list[str]:
    try:
        return shlex.split(line, comments=True) if not line.lstrip().startswith(";") else []
    except ValueError as error:
        raise InventoryProblem("a host and its variables", f"{line.strip()!r} ({error})", number) from None


def _spec(name: str, variables: Mapping[str, Any]) -> str:
    given = {key: str(variables[of]) for key, of in VARIABLES.items() if variables.get(of) not in (None, "")}
    host = given.get("host", name)
    host = f"[{host}]" if ":" in host else host
    user = f"{quote(given['user'])}@" if "user" in given else ""
    port = f":{given['port']}" if "port" in given else ""
    query = [f"ssh_identity_file={quote(given['key'])}"] if "key" in given else []
    query += [f"python={quote(given['python'])}"] if given.get("python", "auto").startswith("/") else []
    query += ["sudo=true"] if given.get("sudo", "").lower() in YES else []
    return f"ssh://{user}{host}{port}" + (f"?{'&'.join(query)}" if query else "")


def _of_terraform(document: Mapping[str, Any]) -> Iterator[str]:
    """Every output that is an address or a list of them, `hub` first."""
    values = {name: output.get("value") for name, output in document.items() if isinstance(output, dict)}
    named = sorted(values, key=lambda name: name not in HUBS)  # sorted is stable: the others stay in their order
    found = 0
    for name in named:
        value = values[name]
        for host in value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]:
            if isinstance(host, str) and host:
                found += 1
                yield f"[{host}]" if ":" in host and "@" not in host else host
    if not found:
        raise InventoryProblem(
            "the Terraform outputs `hub` and `spokes`, with addresses",
            f"only {', '.join(f'`{name}`' for name in values)}" if values else "no outputs",
        )
