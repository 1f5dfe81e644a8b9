"""
What ssh, sudo and login shells say when a host cannot be used, and what that means: one cause, one remedy.

Words are OpenSSH's (its messages are not translated), sudo's (asked for in English) and the cloud images'.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass

from lab.machines.live import ssh_keys
from lab.machines.live.hosts import HostSpec

QUOTED_LINES = 6
TURNED_AWAY = "turned-away"
"""The code of a connection that sshd closed at once, as it does when too many log in at the same time."""
DENIED = "permission-denied"
_WRONG_USER = r"(?i:please login as the user) \"(?P<right>[^\"]+)\""


@dataclass(frozen=True)
class Cause:
    """Why a host cannot be used.  `code` is for programs."""

    code: str
    sentence: str
    remedy: str


@dataclass(frozen=True)
class _Rule:
    words: str
    code: str
    sentence: str
    remedy: str


# The first that matches is used: more specific rules stand before more general ones.
_RULES = (
    _Rule(
        r"Could not resolve hostname (?P<name>\S+?):",
        "unresolved",
        "{its_name} cannot be resolved",
        "check the spelling, or give its address: ssh://{address_of}, or a Host entry in ~/.ssh/config",
    ),
    _Rule(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "host-key-changed",
        "its host key{shown} is not the one in known_hosts: another machine, a rebuilt one, or a man in the middle",
        "compare the fingerprint with the cloud console's; if the machine was rebuilt: ssh-keygen -R {known_as}{file}",
    ),
    _Rule(
        r"Host key verification failed|host key is known for|No matching host key fingerprint",
        "host-key-unknown",
        "its host key is not in known_hosts, and ssh rejects unknown keys",
        "log in once and compare the fingerprint with the cloud console's: {login}",
    ),
    _Rule(
        _WRONG_USER,
        "wrong-user",
        "this image accepts logins as {right}, not as {user}",
        "name that user, with sudo: ssh://{right}@{host_port}?sudo=true",
    ),
    _Rule(
        r"UNPROTECTED PRIVATE KEY FILE[^']*?'(?P<unprotected>[^']+)'",
        "key-unprotected",
        "ssh ignores the private key because other users can read it",
        "chmod 600 {unprotected}",
    ),
    _Rule(
        r"(?m)^(?P<who>[^\s:]+): Permission denied \((?P<ways>[^)]*)\)|Permission denied \((?P<more>[^)]*)\)"
        r"|Too many authentication failures",
        DENIED,
        "authentication failed ({ways}): it accepted none of ssh's keys",
        "name the user and the key: ssh://USER@{host_port}?ssh_identity_file=FILE (or ssh-add FILE); try it: {login}",
    ),
    _Rule(
        r"Connection refused",
        "refused",
        "it refused the connection: nothing listens there, or a firewall rejects it",
        "check that sshd listens on this port; if it listens on another one: --hosts=...ssh://{user_at}{host}:PORT...",
    ),
    _Rule(
        r"Connection timed out|Operation timed out|No route to host|Network is unreachable|port \d+ timed out",
        "unreachable",
        "no connection: {said}",
        "is the machine up and the address right, and do the cloud's rules (security list or group) and its own "
        "firewall let TCP port {port} in? Try it: {login}",
    ),
    _Rule(
        r"Bad configuration option|Bad owner or permissions|terminating, \d+ bad configuration|Can't open user config",
        "ssh-config",
        "ssh rejects its configuration: {said}",
        "correct this file, then: {login}",
    ),
    _Rule(
        r"sudo: (a password is required|a terminal is required|no tty present)|sudo: .*askpass",
        "sudo-password",
        "sudo requires a password for {user}",
        "on the host, with visudo: {user_plain} ALL=(root) NOPASSWD: ALL   (or log in as a user with that right)",
    ),
    _Rule(
        r"is not in the sudoers file|is not allowed to (run sudo|execute)|may not run sudo",
        "sudo-denied",
        "sudo does not permit {user} to become root",
        "on the host, with visudo: {user_plain} ALL=(root) NOPASSWD: ALL   (or log in as a user with that right)",
    ),
    _Rule(
        r"sudo: sorry, you must have a tty",
        "sudo-tty",
        "sudo requires a terminal",
        "on the host, with visudo: Defaults:{user_plain} !requiretty",
    ),
    _Rule(
        r"sudo: (?P<name>\S+): command not found",
        "python-missing",
        "there is no {name} in sudo's path",
        "use its full path: {with_python}",
    ),
    _Rule(
        r"account is currently not available|allows sftp connections only|administratively prohibited"
        r"|(?i:password (change required|has expired))|shell request failed",
        "no-shell",
        "{user} may log in there, but not run a program: {said}",
        "log in as another user: ssh://USER@{host_port}",
    ),
    _Rule(
        r"kex_exchange_identification: (read: )?Connection (closed|reset)|Exceeded MaxStartups",
        TURNED_AWAY,
        "it, or a jump host before it, closed the connection before the login: {said}",
        "if other logins get through, allow more at once in that sshd's configuration (MaxStartups 100:30:200); if "
        "none does, it may have banned this address: {login}",
    ),
    _Rule(
        r"kex_exchange_identification|Connection (closed|reset) by|banner",
        "closed",
        "it closed the connection before the login: {said}",
        "is that port sshd's? It may also have too many logins at once (MaxStartups), or a ban: {login}",
    ),
)


def cause(spec: HostSpec, said: str, status: int | None, expired: float | None = None) -> Cause:
    """
    Explains a connection that came to nothing.

    `said` is all that came over stderr and stdout, `status` ssh's exit status; `expired` the seconds that it had.
    """
    for rule in _RULES:
        found = re.search(rule.words, said)
        if found:
            values = {**_values(spec, said), **{key: value for key, value in found.groupdict().items() if value}}
            values["its_name"] = "its name" if values.get("name") == spec.host else f"the name {values.get('name')}"
            if "more" in values:
                values["ways"] = values.pop("more")
            if "ways" in values and (closer := _of_keys(spec, values["ways"], values["login"])):
                return closer
            values.setdefault("ways", "too many keys were tried")
            values["unprotected"] = shlex.quote(values.get("unprotected", ""))
            values["said"] = said[said.rfind("\n", 0, found.start()) + 1 :].splitlines()[0].strip()
            return Cause(rule.code, rule.sentence.format(**values), rule.remedy.format(**values))
    login = _values(spec, said)["login"]
    if expired is not None:
        sentence = f"it was reached, but no program runs there after {expired:g} s"
        return Cause("slow", sentence, f"give it longer (timeout=SECONDS), or see what the login waits for: {login}")
    if status == 255:  # ssh's own, not that of a program over there
        return Cause("no-login", "ssh did not get there", f"ssh's reason is above; try it: {login}")
    how = "ssh was killed" if status is not None and status < 0 else f"exit status {status}"
    return Cause("no-agent", f"{spec.python} was to be started there, but did not run ({how})", f"try it: {login}")


def _of_keys(spec: HostSpec, ways: str, login: str) -> Cause | None:
    """A closer cause of a login that was denied: ssh could not use a key, or the host does not know the named one."""
    failed, key = f"authentication failed ({ways})", spec.ssh_identity_file
    if locked := ssh_keys.locked(_login(spec)):
        files = " ".join(map(shlex.quote, locked))
        agent = "" if os.environ.get("SSH_AUTH_SOCK") else 'eval "$(ssh-agent)" && '
        found = f"{failed}: ssh cannot use {files} without the passphrase, and a run does not prompt"
        return Cause("key-locked", found, f"{agent}ssh-add {files}")
    if not (spec.user and key):
        return None
    known = f"append {key}.pub to {spec.user}'s ~/.ssh/authorized_keys on the host, or name another user or key"
    return Cause(DENIED, f"{failed}: it accepted none of ssh's keys", f"{known}; try it: {login}")


def late(spec: HostSpec, took: float, timeout: float) -> tuple[str, str]:
    """What to say of a host that was logged in to after `took` seconds, and whose agent did not answer in time."""
    longer = spec.variant(timeout=f"{4 * timeout:g}")
    return (
        f"logged in after {took:.1f} s, but its agent did not answer within {timeout:g} s of the start",
        (
            f"give it more time: {longer}; or see what delays Python there (load, memory, disk): "
            f"{_values(spec, '')['login']} uptime"
        ),
    )


def hopeless(noise: bytes) -> bool:
    """Whether no program will come after these words: cloud images say them to root, and then keep it waiting."""
    return re.search(_WRONG_USER, noise.decode("utf-8", "replace")) is not None


def quoted(said: str) -> str:
    """The end of what was said, indented; what is only decoration (ssh's @@@ frames) is left out."""
    lines = [line.rstrip() for line in said.splitlines() if re.search(r"\w", line)]
    return "\n".join(f"    {line}" for line in lines[-QUOTED_LINES:])


def _login(spec: HostSpec) -> list[str]:
    """The command that logs in by hand."""
    words = ["ssh", *(["-F", spec.ssh_config] if spec.ssh_config else [])]
    words += ["-i", spec.ssh_identity_file] if spec.ssh_identity_file else []
    words += ["-p", str(spec.port)] if spec.port else []
    return [*words, f"{spec.user}@{spec.host}" if spec.user else spec.host]


def _values(spec: HostSpec, said: str) -> dict[str, str]:
    offending = re.search(r"Offending \S+ key in (\S+?):\d+|Add correct host key in (\S+)", said)
    file = next((group for group in offending.groups() if group), None) if offending else None
    fingerprint = re.search(r"\bSHA256:\S+?(?=\.?\s)", said)
    host = f"[{spec.host}]" if ":" in spec.host else spec.host
    return {
        "host": host,
        "user_at": f"{spec.user}@" if spec.user else "",
        "host_port": host + (f":{spec.port}" if spec.port else ""),
        "port": str(spec.port or 22),
        "user": spec.user or "the user",
        "user_plain": spec.user or "USER",
        "address_of": f"{spec.user or 'USER'}@ADDRESS",
        "login": " ".join(_login(spec)),
        "known_as": f"'[{spec.host}]:{spec.port}'" if spec.port not in (None, 22) else spec.host,
        "shown": f" ({fingerprint[0]})" if fingerprint else "",
        "file": f" -f {file}" if file else "",
        "with_python": spec.variant(python="/usr/bin/python3"),
    }
