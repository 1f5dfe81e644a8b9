"""
The commands of a shell that are its own, that start others, or whose end is known: what follows depends on them.

A script that another runs is followed with its arguments, if this host's user may read it and a shell runs it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence

from lab.agent.boot import base
from lab.agent.boot.base import BootObstacle, ShellCommand
from lab.agent.boot.shell import effects
from lab.agent.boot.shell.builtins import OWN
from lab.agent.boot.shell.evaluation import Shell
from lab.agent.boot.shell.state import DONE, NO, UNKNOWN, YES, Exit, Field, ShellState, Status
from lab.agent.boot.shell.tree import Redirection

OWN_SCRIPTS = ("/usr/local/", "/opt/", "/root/", "/etc/", "/home/", "/srv/")
"""Where the scripts that others run are read: what a distribution installs elsewhere makes no overlay."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh")
ACTIONS = (
    *("ip", "bridge", "brctl", "tc", "ethtool", "sysctl", "modprobe", "ifconfig", "route", "iptables", "ip6tables"),
    *("nft", "ebtables", "iptables-restore", "ipset", "ovs-vsctl", "ifup", "ifdown", "nmcli", "networkctl"),
    *("mkdir", "touch", "chmod", "chown", "cp", "mv", "ln", "rm", "cat", "tee", "sed", "awk", "cut", "tr", "head"),
    *("tail", "sort", "seq", "date", "hostname", "sync", "sleep", "logger", "udevadm", "firewall-cmd", "printenv"),
    *("basename", "dirname", "id", "uname", "stty", "install", "systemctl", "insmod", "arping", "mktemp", "tput"),
)
"""Programs that make or change something, or print: they are taken to succeed."""
QUERIES = re.compile(
    r"^(?:systemctl\s+(?:\S+\s+)*(?:is-\w+|status|show)|modprobe\s+(?:-\w*[nr]\w*|--dry-run|--remove|-r)|nmcli\s.*\bshow"
    r"|ip\s.*\b(?:show|list|get|sh|ls|del|delete|flush|save)\b|ip\s+(?:-\S+\s+)*\w+$|tc\s.*\b(?:show|del)\b"
    r"|bridge\s.*\b(?:show|del)\b|iptables\s.*(?:-C|--check|-D|-L|-S)\b|nft\s+list|ifconfig(?:\s+\S+)?$"
    r"|brctl\s+(?:show|del)|firewall-cmd\s.*--query)"
)
"""Uses of these whose result is not known, or which fail if there is nothing."""
ENDLESS = re.compile(
    r"^(?:sleep\s+inf|tail\s+(?:\S+\s+)*(?:-\w*[fF]|--follow)|(?:ip|bridge|tc)\s+(?:-\S+\s+)*monitor|tcpdump\b|watch\s|yes\b"
    r"|inotifywait\s.*-\w*m|journalctl\s.*-\w*f|socat\s|nc\s.*-\w*l|udevadm\s+monitor|top\b)"
)
ELSEWHERE = re.compile(
    r"^(?:ip\s+(?:-\S+\s+)*(?:-n\w*|-netns)\s+\S+|ip\s+(?:-\S+\s+)*netns\s+e\w*\s+\S+|nsenter\s|unshare\s|chroot\s"
    r"|docker\s|podman\s|lxc\S*\s|ssh\s|bridge\s+(?:-\S+\s+)*-n\w*\s|tc\s+(?:-\S+\s+)*-n\w*\s)"
)
"""Commands for another network stack."""
PREFIXES: Mapping[str, str] = {
    **dict.fromkeys(("nohup", "setsid", "time", "builtin", "command", "exec", "chronic", "busybox", "env"), ""),
    "sudo": "ugpCDhRrtTU",
    "nice": "n",
    "ionice": "cnp",
    "stdbuf": "ioe",
    "doas": "uC",
}
"""Programs that start another, with their options that have an argument."""
NUMBERED = {"timeout": 1, "flock": 1, "taskset": 1}
"""Programs that start another after arguments of their own."""
DEVICE = re.compile(
    r"^ip\s+(?:-\S+\s+)*(?:l|li|link|a|addr|address)\s+(?:sh|show|list|ls)\s+(?:dev\s+)?([\w.-]+)$|^ifconfig\s+([\w.-]+)$"
)


def shell(state: ShellState, path: str, args: Sequence[str | None] | None) -> Shell:
    """A shell at boot; `args` None: they are not known."""
    return Shell(state, path, args, call)


def of_lines(path: str, texts: Sequence[str], *, stops: bool = False) -> list[ShellCommand]:
    """The commands of lines that a shell each runs; `stops`: none runs after one that fails."""
    state, doubt = ShellState(), ""
    for text in texts:
        one = shell(state, path, [])
        one.doubt = doubt
        status = one.run(text)
        if stops and status.holds is False and not (status.presumed or status.absent):
            break
        if stops and status.holds is not True:
            doubt = doubt or f"`{text[:SHOWN]}` before it may fail"
    return settled(state.commands)


def of_script(
    path: str, args: Sequence[str | None] | None, environment: Mapping[str, str | None] | None = None
) -> list[ShellCommand]:
    """The commands of a script that a boot starts."""
    state = ShellState()
    begun = shell(state, path, args)
    begun.variables.update(environment or {})
    with contextlib.suppress(OSError), open(path, errors="replace") as file:
        evaluated(begun, file.read(base.LARGEST))
    return settled(state.commands)


def raw(path: str, text: str) -> list[ShellCommand]:
    """Lines as they are."""
    return [ShellCommand(line.strip(), path) for line in text.splitlines() if line.strip()]


def call(shell: Shell, fields: Sequence[Field], redirections: Sequence[Redirection], piped: bool) -> Status:
    """One command with its arguments."""
    name, args = fields[0].text, fields[1:]
    text = " ".join(field.text for field in fields)
    if not fields[0].known or name in shell.aliases:
        shell.emit(text, opaque=True)
        return UNKNOWN
    if name in shell.functions:
        body = shell.functions[name]
        if body is None:
            shell.emit(text, opaque=True)
            return UNKNOWN
        return shell.function(body, [field.text if field.known else None for field in args])
    if name in OWN:
        return OWN[name](shell, args)
    return program(shell, fields, redirections, piped)


def program(shell: Shell, fields: Sequence[Field], redirections: Sequence[Redirection], piped: bool) -> Status:
    """A command that is no function."""
    name, args = fields[0].text.rpartition("/")[2], list(fields[1:])
    text = " ".join(field.text for field in fields)
    plain = f"{name} {' '.join(field.text for field in args)}".strip()
    if ELSEWHERE.search(plain):
        return UNKNOWN
    if name in OWN and (fields[0].text == name or name in ("true", "false", "test", "[")):
        return OWN[name](shell, args)
    if name in PREFIXES or name in NUMBERED:
        return _started(shell, name, args, redirections, piped)
    if name in SHELLS:
        return _of_shell(shell, args, redirections, piped, text)
    if name == "run-parts":
        return _parts(shell, args, text)
    path = fields[0].text if "/" in fields[0].text else shutil.which(name, path=PATH) or name
    if path.startswith(OWN_SCRIPTS):
        return script(shell, path, [field.text if field.known else None for field in args])
    if name == "ip" and (batch := _batch(shell, args, redirections, piped)) is not None:
        return batch
    return _emitted(shell, text, plain)


def _emitted(shell: Shell, text: str, plain: str) -> Status:
    if ENDLESS.search(plain):
        shell.left[Exit] = f"`{plain}` before it does not end"
        return UNKNOWN
    if (asked := DEVICE.search(plain)) is not None:
        return shell.exists(asked[1] or asked[2])
    shell.emit(text)
    made, removed = effects.made(plain), effects.removed(plain)
    if made:
        shell.state.made[made] = shell.state.made.get(made, False) or not (shell.doubts or shell.obstacle)
        return DONE
    if removed:
        known = shell.state.made.get(removed)
        shell.state.made[removed] = False
        if known and not shell.doubts:
            del shell.state.made[removed]
        return DONE if known else UNKNOWN
    name = effects.program(plain)
    if name in ("echo", "printf"):
        return YES
    return DONE if name in ACTIONS and not QUERIES.search(plain) else UNKNOWN


def _started(shell: Shell, name: str, args: list[Field], redirections: Sequence[Redirection], piped: bool) -> Status:
    """A program that starts another: the other."""
    valued = PREFIXES.get(name, "")
    while args and (args[0].text.startswith("-") or (name in ("env", "sudo") and "=" in args[0].text)):
        option = args.pop(0).text
        if option in ("-v", "-V") and name == "command":
            found = args and args[0].known and shutil.which(args[0].text, path=PATH)
            return YES if found or (args and args[0].text in shell.functions) else NO
        if option.startswith("-c") and name == "flock":
            return program(shell, [Field("sh"), Field("-c"), *args], redirections, piped)
        if name == "sudo" and option.startswith(("-u", "--user")) and "root" not in (option[2:], *args[:1]):
            shell.emit(f"sudo {option} " + " ".join(field.text for field in args), opaque=True)
            return UNKNOWN
        if len(option) == 2 and option[1] in valued and args:
            args.pop(0)
    args = args[NUMBERED.get(name, 0) :]
    if name == "flock" and args and args[0].text == "-c":
        args = [Field("sh"), *args]
    if not args:
        return YES
    if name == "exec":
        program(shell, args, redirections, piped)
        raise Exit
    if name in ("command", "builtin"):
        if args[0].text in OWN:
            return OWN[args[0].text](shell, args[1:])
        return program(shell, args, redirections, piped)
    status = program(shell, args, redirections, piped)
    return UNKNOWN if name == "timeout" else status


def _of_shell(shell: Shell, args: list[Field], redirections: Sequence[Redirection], piped: bool, text: str) -> Status:
    """`sh -c TEXT`, `sh SCRIPT`, and `sh` with a here-document."""
    options = ""
    while args and args[0].text.startswith(("-", "+")) and args[0].text != "-":
        options += args.pop(0).text
        if options.endswith("o") and args:
            options += " " + args.pop(0).text
    if "n" in options.replace("login", "").replace("--norc", "").replace("--noprofile", ""):
        return YES
    inner = shell.inner("/dev/null", [])
    inner.path = shell.path
    inner.options = {one for one in "eu" if one in options.replace("--norc", "").replace("--noprofile", "")}
    if "c" in options and args:
        if not args[0].known:
            shell.emit(text, opaque=True)
            return UNKNOWN
        inner.args = [field.text if field.known else None for field in args[2:]]
        return _ended(shell, inner, args[0].text)
    if args and args[0].text != "-":
        if not args[0].known:
            shell.emit(text, opaque=True)
            return UNKNOWN
        given = [field.text if field.known else None for field in args[1:]]
        return script(shell, args[0].text, given, by_shell=True, options=inner.options)
    document = _document(redirections)
    if document is None or piped:
        shell.emit(text, opaque=True)
        return UNKNOWN
    return _ended(shell, inner, document)


def _ended(shell: Shell, inner: Shell, text: str) -> Status:
    status = inner.run(text)
    return UNKNOWN if inner.left else status


def _document(redirections: Sequence[Redirection]) -> str | None:
    """The lines of a here-document in which nothing is replaced."""
    for one in redirections:
        if one.operator in ("<<", "<<-") and one.lines:
            quoted = any(piece.quoted for piece in one.word)
            return one.lines[0] if quoted or not re.search(r"[$`]", one.lines[0]) else None
    return None


def _batch(shell: Shell, args: Sequence[Field], redirections: Sequence[Redirection], piped: bool) -> Status | None:
    """`ip -batch FILE`: each line is a command."""
    names = [number for number, field in enumerate(args) if re.fullmatch(r"-b|--?ba\w*", field.text)]
    if not names:
        return None
    given = args[names[0] + 1] if names[0] + 1 < len(args) else Field("-")
    text = _document(redirections) if given.text == "-" and not piped else None
    path = shell.path
    if given.text != "-" and given.known and given.text not in shell.state.written:
        path, text = given.text, base.read(given.text) if os.path.isfile(given.text) else None
    if text is None:
        shell.emit("ip " + " ".join(field.text for field in args), opaque=True)
        return UNKNOWN
    before, shell.path = shell.path, path
    forced = any(field.text in ("-force", "-f") for field in args)
    for line in base.uncommented(text).splitlines():
        if line.strip():
            status = _emitted(shell, f"ip {line.strip()}", f"ip {line.strip()}")
            if status.holds is None and not forced and REMOVING.search(line):
                shell.left.setdefault(Exit, "`ip -batch` ends at the first error, which may be before it")
    shell.path = before
    if not forced and "e" not in shell.options:
        shell.left.pop(Exit, None)
    return UNKNOWN if not forced else DONE


REMOVING = re.compile(r"\b(?:d|del|delete|flush)\b")


def _parts(shell: Shell, args: Sequence[Field], text: str) -> Status:
    """`run-parts FOLDER`."""
    folders = [field.text for field in args if field.known and os.path.isdir(field.text)]
    if len(folders) != 1:
        shell.emit(text, opaque=True)
        return UNKNOWN
    for name in sorted(os.listdir(folders[0])):
        if re.fullmatch(r"[\w-]+", name) and os.access(f"{folders[0]}/{name}", os.X_OK):
            script(shell, f"{folders[0]}/{name}", [])
    return UNKNOWN


def script(
    shell: Shell,
    path: str,
    args: Sequence[str | None] | None,
    *,
    by_shell: bool = False,
    by_systemd: bool = False,
    options: set[str] | None = None,
) -> Status:
    """A script that is run: by a shell that is named, by systemd, or by another script."""
    if not os.path.exists(path):
        return NO
    inner = shell.inner(path, args)
    if path in shell.state.written or inner.depth > 10:
        inner.emit(f". {path}", opaque=True)
        return UNKNOWN
    try:
        with open(path, "rb") as file:
            raw = file.read(base.LARGEST)
    except OSError:
        inner.emit(f". {path}", opaque=True)
        return UNKNOWN
    if raw.startswith(b"\x7fELF"):
        inner.emit(f"{path} {' '.join(arg or '$' for arg in args or ())}")
        return UNKNOWN
    text = raw.decode(errors="replace")
    inner.obstacle = shell.obstacle or _unusable(path, text, by_shell, by_systemd)
    return evaluated(inner, text, by_shell=by_shell, options=options)


def evaluated(shell: Shell, text: str, *, by_shell: bool = False, options: set[str] | None = None) -> Status:
    """A script's text in its own shell: the text of another language is not known."""
    first = re.match(r"#!\s*(\S+)[ \t]*(.*)", text)
    program = ""
    if first and not by_shell:
        program = os.path.basename(first[1])
        if program == "env":
            program = first[2].replace("-S", "").split()[0] if first[2].split() else ""
    if program and program.strip() not in SHELLS:
        for line in base.uncommented(text).splitlines():
            shell.emit(line.strip(), opaque=True)
        return UNKNOWN
    if first and not by_shell:
        shell.options |= {one for one in "eu" if re.search(rf"(?:^|\s)-\w*{one}", first[2])}
    shell.options |= options or set()
    status = shell.run(text.replace("\r", ""))
    return UNKNOWN if shell.left else status


def _unusable(path: str, text: str, by_shell: bool, by_systemd: bool) -> BootObstacle:
    if by_shell:
        return base.carriage_returns(path, text)
    return base.runnable(path, text) if by_systemd else base.executed(path, text)


def settled(commands: Sequence[ShellCommand]) -> list[ShellCommand]:
    """The commands that no later one undoes; those that one may undo are in doubt."""
    left: list[ShellCommand] = []
    for command in commands:
        if not command.obstacle and not command.opaque:
            undone = [one for one in left if effects.undoes(command.text, one.text)]
            if command.doubt or command.unless:
                why = f"`{command.text[:SHOWN]}` may undo it"
                left = [one._replace(doubt=one.doubt or why) if one in undone else one for one in left]
            else:
                left = [one for one in left if one not in undone]
        left.append(command)
    return left


SHOWN = 60
