"""
Units of this machine's own, the conditions under which a boot starts them, and the commands that they then run.

systemd starts programs without a shell: `&&` and `>` are arguments.  What `ExecStop=` runs undoes a unit that a boot
does not leave active.  Sources: systemd.unit(5), systemd.service(5), systemd.exec(5).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from lab.agent.boot import base
from lab.agent.boot.base import BootObstacle, Part, ShellCommand, settings
from lab.agent.boot.shell import programs
from lab.agent.boot.shell.evaluation import Shell
from lab.agent.boot.shell.state import Exit, Field, Leave, ShellState

STARTS = ("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost")
ENDS = ("ExecStop", "ExecStopPost")
BOUND = ("Requires", "BindsTo", "Requisite")
DEVICE = re.compile(r"sys-subsystem-net-devices-(\S+?)\.device")
ARGUMENT = re.compile(r"(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|\\.|[^\s\"'\\])+")
QUOTED = re.compile(r"\"((?:\\.|[^\"\\])*)\"|'((?:\\.|[^'\\])*)'|\\(.)")
PARAMETER = re.compile(r"\$\$|\$\{(\w+)\}|\$(\w+)")
OF_A_SHELL = re.compile(r"^(?:&&?|\|\|?|\d?>>?.*|\d>&\d|<.*)$")
TRUE = ("yes", "true", "1", "on")
OWN_NETWORK = ("PrivateNetwork", "NetworkNamespacePath", "JoinsNamespaceOf")


def obstacle(path: str, text: str) -> BootObstacle:
    """Why a boot does not start a unit; of a template, any of its instances counts."""
    given = [base.started(unit) for unit in _instances(path) or [os.path.basename(path)]]
    return None if None in given else given[0]


def parts(path: str, text: str, words: Sequence[str]) -> Iterator[Part]:
    """The lines of a unit that name what it runs when it starts, with its drop-ins."""
    drop_ins = base.drop_ins(os.path.basename(path))
    text = "\n".join([text, *map(base.read, drop_ins)]).replace("\\\n", " ")
    lines: dict[str, list[str]] = {}
    taken_back: list[str] = []
    for key, value in settings(text, "Service"):
        if key in (*STARTS, *ENDS):
            # an empty one takes back those before it
            taken_back += lines.get(key, []) if not value and key in STARTS else []
            lines[key] = [*lines.get(key, []), f"{key}={value}"] if value else []
    if taken_back:
        why = f"a drop-in of {os.path.basename(path)} takes its commands back"
        commands = _commands(path, {"ExecStart": taken_back}, {}, {})
        fix = f"grep -n Exec {' '.join(drop_ins)}    # then correct it"
        yield Part("\n".join(taken_back), obstacle=(why, fix), commands=commands)
    needs = [
        name.replace("\\x2d", "-")
        for key, value in settings(text, "Unit")
        if key in BOUND
        for name in DEVICE.findall(value)
    ]
    values = dict(settings(text, "Service"))
    started = "\n".join(line for key in STARTS for line in lines.get(key, []))
    for unit in _instances(path) or [""]:
        instance = unit.partition("@")[2].rpartition(".")[0]
        own = {
            key: [re.sub("%[iI]", instance, line) if instance else line for line in each] for key, each in lines.items()
        }
        commands = programs.settled(_commands(path, own, values, _environment(text)))
        given = re.sub("%[iI]", instance, started) if instance else started
        # a condition costs a program
        concerned = not words or any(
            word.partition("/")[0] in one.text or one.opaque for word in words for one in commands
        )
        why_not = _apart(values, path) or _unmet(text, path) or (base.unmet(text, path) if concerned else None)
        yield Part(given, obstacle=why_not, needs=needs, commands=commands)


def _apart(values: Mapping[str, str], path: str) -> BootObstacle:
    """Why what a unit runs may not change this host's network."""
    shown = f"grep -n -e User= -e Network {path}    # then correct it"
    user = values.get("User", "root")
    if user not in ("root", "0", "") and "NET_ADMIN" not in values.get("AmbientCapabilities", ""):
        return f"it runs as {user}, who may not change interfaces", shown
    if values.get("DynamicUser", "no").lower() in TRUE and "NET_ADMIN" not in values.get("AmbientCapabilities", ""):
        return "it runs as a user of its own (DynamicUser=), who may not change interfaces", shown
    if _excludes(bound := values.get("CapabilityBoundingSet", "NET_ADMIN"), "NET_ADMIN"):
        return f"it has CapabilityBoundingSet={bound}: it may not change interfaces", shown
    if _excludes(values.get("RestrictAddressFamilies", "AF_NETLINK"), "AF_NETLINK"):
        return "its RestrictAddressFamilies= excludes netlink: it may not change interfaces", shown
    for key in ("RootDirectory", "RootImage"):
        if values.get(key, "/") != "/":
            return f"it has {key}={values[key]}: what it runs there cannot be determined", shown
    for key in OWN_NETWORK:
        if values.get(key) and values[key].lower() not in ("no", "false", "0", "off"):
            return f"it has {key}={values[key]}: its network is another one", shown
    return None


def _excludes(listed: str, name: str) -> bool:
    """Whether a list of what is permitted lacks a name; one that begins with ~ is of what is not."""
    return listed.startswith("~") == (name in listed)


def _unmet(text: str, path: str) -> BootObstacle:
    """Why a unit fails by another one that it requires."""
    for key, value in settings(text, "Unit"):
        for name in value.split() if key in BOUND else ():
            if not name.endswith(".service") or "%" in name or "@" in name:
                continue
            there = [*base.unit_files(name), *glob.glob(f"/run/systemd/generator*/{name}")]
            if not there and not os.path.exists(f"/etc/init.d/{name[: -len('.service')]}"):
                return (
                    f"it has {key}={name}, which this host does not have",
                    f"sudo systemctl edit --full {os.path.basename(path)}",
                )
            if base.masked(name) or (key == "Requisite" and not base.enabled(name)):
                return f"it has {key}={name}, which a boot does not start", f"sudo systemctl enable {name}"
    return None


def _environment(text: str) -> dict[str, str | None]:
    """The variables that a unit gives."""
    found: dict[str, str | None] = {}
    for key, value in settings(text, "Service"):
        if key == "Environment":
            for name, _, given in (one.partition("=") for one in map(_unquoted, ARGUMENT.findall(value))):
                found[name] = given
        elif key == "EnvironmentFile":
            for name, given in base.SETTING.findall(base.read(value.lstrip("-"))):
                found[name] = _unquoted(given)
    return found


def _unquoted(text: str) -> str:
    return QUOTED.sub(lambda one: one[1] or one[2] or one[3] or "", text)


def _commands(
    path: str, lines: Mapping[str, Sequence[str]], values: Mapping[str, str], environment: Mapping[str, str | None]
) -> list[ShellCommand]:
    """What a unit runs, in order; with what it runs at its end, where a boot does not leave it active."""
    state = ShellState()
    shell = programs.shell(state, path, [])
    shell.variables.update(environment)
    stays = values.get("RemainAfterExit", "no").lower() in TRUE
    once = values.get("Type", "simple" if lines.get("ExecStart") else "oneshot") == "oneshot"
    for key in (*STARTS, *(() if stays else ENDS)):
        if key in ENDS and not once and lines.get("ExecStart"):
            shell.doubt = "it is in ExecStop="
        for line in lines.get(key, []):
            if not _run(shell, line.partition("=")[2], key, once):
                return state.commands
    return state.commands


def _run(shell: Shell, line: str, key: str, once: bool) -> bool:
    """Runs one line; False: the unit ends with it."""
    prefix = re.match(r"[-@+!:|]*", line)
    assert prefix is not None
    forced = "-" in prefix[0]
    arguments: list[list[Field]] = [[]]
    for one in ARGUMENT.findall(line[prefix.end() :]):
        if one == ";":
            arguments.append([])
        else:
            arguments[-1] += _fields(one, shell.variables)
    for given in filter(None, arguments):
        if "@" in prefix[0]:
            del given[1:2]
        before = shell.obstacle
        if any(OF_A_SHELL.match(field.text) for field in given):
            found = next(field.text for field in given if OF_A_SHELL.match(field.text))
            why = f"systemd starts it without a shell, to which `{found}` would belong"
            shell.obstacle = why, f"grep -n {key} {shell.path}    # then: {key}=/bin/sh -c '...'"
        name = given[0].text
        try:
            if name.startswith(programs.OWN_SCRIPTS):
                args = [field.text if field.known else None for field in given[1:]]
                status = programs.script(shell, name, args, by_systemd=True)
            else:
                status = programs.program(shell, given, (), False)
        except Leave:
            continue
        finally:
            shell.obstacle = before
        if forced or key in ENDS or (key == "ExecStart" and not once):
            continue
        if status.holds is False and not status.presumed:
            return False
        if status.holds is None and key != "ExecStartPost" and not _own(name):
            shell.left.setdefault(Exit, f"{key}= before it may fail")
    return True


def _own(name: str) -> bool:
    return name.startswith(programs.OWN_SCRIPTS) or os.path.basename(name) in programs.SHELLS


def _fields(argument: str, variables: Mapping[str, str | None]) -> list[Field]:
    """One argument of a line: a variable by itself may be several."""
    if whole := re.fullmatch(r"\$(\w+)", argument):
        value = variables.get(whole[1])
        return [Field(argument, False)] if value is None else [Field(one) for one in value.split()]
    known = True

    def replaced(one: re.Match[str]) -> str:
        nonlocal known
        if one[0] == "$$":
            return "$"
        value = variables.get(one[1] or one[2])
        known = known and value is not None
        return one[0] if value is None else value

    text = PARAMETER.sub(replaced, _unquoted(argument)).replace("%%", "%")
    return [Field(text, known)]


def _instances(path: str) -> list[str]:
    """The units of a template that others want."""
    name, at, _ = os.path.basename(path).partition("@.")
    return [os.path.basename(link) for link in base.links(f"{name}@?*.service")] if at else []
