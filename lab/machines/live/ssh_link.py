"""
One ssh process: it logs in, starts Python on the host, and then carries execnet's messages.

    here     ssh -T -o BatchMode=yes ... HOST  ->  sh: is there sudo, is there Python?  ->  [sudo -n]  ->  START
    there    "overcast-NONCE python 3.11.2 BYTECODE ..."   whatever a login shell wrote before it is noise
    here     the size of the archive, the archive                      nothing of ours is on the host before
    there    execnet's worker (`ssh_init`)

It is OpenSSH's own client, so that ~/.ssh/config, agents, jump hosts, shared connections and known_hosts hold.  Nothing
ever prompts, and no option here weakens the check of host keys.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
import select
import shlex
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import EnvironmentProblem
from lab.machines.live import ssh_messages
from lab.machines.live.hosts import HostSpec

if TYPE_CHECKING:
    from execnet.gateway_base import ExecModel

OLDEST = (3, 9)

SILENCE = 10.0
"""Seconds without a word after which each side takes the other for gone."""

BEATS = 5
"""How often each side sends in that time."""

FAREWELL = 5.0
"""Seconds that the host gets to end the agent before ssh is killed; the host itself gives it longer."""

MOST_NOISE = 65536
LAST_WORDS = 3000

OPTIONS = (
    "BatchMode=yes",  # whatever would prompt, fails
    "RequestTTY=no",
    "RemoteCommand=none",  # a command of the user's configuration would forbid ours
    "ClearAllForwardings=yes",  # and its forwardings belong to another login
    "LogLevel=INFO",  # errors are read from ssh's messages
)

# Runs in any Python, were it ever so old: it is what finds that out.  No quote, backquote, dollar or exclamation mark,
# which some login shell would touch even between quotes.
START = (
    "import io,os,sys;"
    "sys.path=[p for p in sys.path if p];"  # not the user's home, whose files could bear any name
    "v=sys.version_info[:3];"
    'o=v<(3,9)and[n for n in os.listdir("/usr/bin")if n[:8]=="python3."and n[8:].isdigit()]or[];'
    'm=getattr(sys.modules.get("_frozen_importlib_external"),"MAGIC_NUMBER",b"");'
    'b="".join("%02x"%x for x in bytearray(m))or"-";'
    'l=[b,os.readlink("/proc/self/ns/net"),open("/proc/sys/kernel/random/boot_id").read().strip()];'
    'w=["overcast-"+sys.argv[1],"python","%d.%d.%d"%tuple(v)]+l+o;'
    'os.write(1,(" ".join(w)+"\\n").encode());'
    "i=io.BufferedReader(io.FileIO(0,closefd=False),1);"  # 1: reads not a byte too many
    "n=int(i.read(8)or 0);"
    "n or sys.exit();"
    "z=i.read(n);"
    'f=os.memfd_create("overcast");'
    "os.write(f,z);"
    'sys.path.insert(0,"/proc/self/fd/%d"%f);'
    "from lab.machines.live import ssh_init;"
    "ssh_init.main(float(sys.argv[2]))"
)

# $1 nonce, $2 python, $3 sudo or empty, $4 START, $5 seconds of silence.
# -B: root's imports leave no bytecode in the host's library.
SHELL = (
    "LC_ALL=C; export LC_ALL; cd /; "
    'case "$2" in "~/"*) set -- "$1" "$HOME${2#?}" "$3" "$4" "$5";; esac; '
    'if [ "$(id -u)" = 0 ]; then s=; else s=$3; fi; '
    'if [ -n "$s" ]; then command -v "$s" >/dev/null 2>&1 || { echo "overcast-$1 missing $s"; exit; }; fi; '
    'command -v "$2" >/dev/null 2>&1 || '
    '{ echo "overcast-$1 missing $2" $(ls -d /usr/bin/python3* /usr/local/bin/python3* 2>/dev/null); exit; }; '
    'exec ${s:+"$s" -n --} "$2" -BEsSc "$4" "$1" "$5"'
)


class Unusable(EnvironmentProblem):
    """A host that cannot be used: `code` is the reason, for programs."""

    def __init__(self, spec: HostSpec, code: str, sentence: str, remedy: str, said: str = "") -> None:
        self.spec = spec
        self.code = code
        words = ssh_messages.quoted(said)
        more = f"\n{words}" if words and words.strip() not in sentence else ""
        super().__init__(f"{spec.destination}: {sentence}{more}", remedy=remedy)


@dataclass(frozen=True)
class Login:
    """
    The options for all hosts, unless their specification overrides them.

    `silence` is the number of seconds without a word after which a host counts as lost, and after which the agent on
    it takes us for gone, puts things back and ends.
    """

    ssh_config: str | None = None
    identity_file: str | None = None
    sudo: bool = False
    silence: float = SILENCE


class SshLink:
    """Execnet's IO over one ssh process.  `log_in`, then `send`, then it is a gateway's; `close` ends it."""

    def __init__(self, spec: HostSpec, login: Login, started: float, timeout: float, execmodel: ExecModel) -> None:
        self.spec = spec
        self.execmodel = execmodel
        self._started, self._timeout = started, timeout
        self.silence = login.silence
        # as it logs in, for the command that a message names
        self._as_chosen = replace(
            spec,
            ssh_config=spec.ssh_config or login.ssh_config,
            ssh_identity_file=spec.ssh_identity_file or login.identity_file,
        )
        self._deadline: float | None = started + timeout
        self._logged_in: float | None = None
        self._nonce = secrets.token_hex(8)
        self._said = io.FileIO(os.memfd_create("ssh's words"))  # a pipe could be held open by a shared connection
        self._obituary = ""
        self._noise = b""
        self._heard = time.monotonic()
        self._closing = threading.RLock()
        self._taken_over = False
        self.stack = ""
        """The host's network stack: equal for two names of one machine."""
        self.bytecode = ""
        """The format of its Python's bytecode."""
        try:
            self._process = subprocess.Popen(
                self.command(login),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for us: leaving the hosts in order needs the connections
            )
        except FileNotFoundError:
            self._said.close()
            raise EnvironmentProblem(
                "OpenSSH's ssh, which live hosts need, is not installed",
                remedy="sudo apt-get install openssh-client",
            ) from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to_host, self._from_host = self._process.stdin, self._process.stdout

    def command(self, login: Login) -> list[str]:
        """The arguments of ssh."""
        spec = self.spec
        words = ["ssh", "-T", "-x"]
        for option in (*OPTIONS, f"ConnectTimeout={max(1, int(self._timeout * 0.8))}"):
            words += ["-o", option]
        config, identity = spec.ssh_config or login.ssh_config, spec.ssh_identity_file or login.identity_file
        words += ["-F", str(Path(config).expanduser())] if config else []
        words += ["-i", str(Path(identity).expanduser())] if identity else []
        words += ["-p", str(spec.port)] if spec.port else []
        words += ["-l", spec.user] if spec.user else []
        sudo = login.sudo if spec.sudo is None else spec.sudo
        far = ["exec", "/bin/sh", "-c", SHELL, "overcast", self._nonce, spec.python, "sudo" if sudo else "", START]
        far.append(f"{login.silence:g}")
        return [*words, "--", spec.host, " ".join(shlex.quote(word) for word in far)]

    # before it is a gateway's

    def log_in(self) -> None:
        """Waits until Python runs on the host; raises Unusable with what kept it from that."""
        marker = re.compile(rb"overcast-%s (.*)\n" % self._nonce.encode())
        waiting = select.poll()
        waiting.register(self._from_host, select.POLLIN)
        while not (found := marker.search(self._noise)):
            if not waiting.poll(max(0.0, self._left()) * 1000):
                raise self._unusable(expired=True)
            more = os.read(self._from_host.fileno(), 4096)
            self._noise += more
            if not more or len(self._noise) > MOST_NOISE or ssh_messages.hopeless(self._noise):
                raise self._unusable(ended=not more)
        self._check(found[1].decode("utf-8", "replace").split())
        self._logged_in = time.monotonic()

    def _check(self, words: list[str]) -> None:
        kind, found, *more = words
        if kind == "missing":
            raise self._missing(found, more)
        if tuple(int(part) for part in found.split(".")) < OLDEST:
            sentence = f"{self.spec.python} there is Python {found}; {OLDEST[0]}.{OLDEST[1]} or newer is needed"
            raise Unusable(self.spec, "python-old", sentence, self._other_python(more[3:]))
        self.bytecode, *stack = more
        self.stack = " ".join(stack)

    def _missing(self, program: str, others: list[str]) -> Unusable:
        if program == "sudo":
            remedy = (
                f"log in as root (ssh://root@{self.spec.host}), or omit sudo: the tests that need root then do not run"
            )
            return Unusable(self.spec, "sudo-missing", "there is no sudo", remedy)
        return Unusable(self.spec, "python-missing", f"there is no {program}", self._other_python(others))

    def _other_python(self, others: list[str]) -> str:
        names = [name for name in others if re.search(r"python3\.(9|[1-9]\d)$", name)]
        if names:
            path = names[-1] if "/" in names[-1] else f"/usr/bin/{names[-1]}"
            return f"name the one that is there: {self.spec.variant(python=path)}"
        return (
            "install one beside it (apt-get install python3, dnf install python3.11), and name it if its name is "
            f"another: {self.spec.variant(python='/usr/bin/python3.11')}"
        )

    def send(self, archive: bytes) -> None:
        """Sends what the far side is to import; raises Unusable when that takes beyond the deadline."""
        view = memoryview(b"%08d" % len(archive) + archive)
        descriptor = self._to_host.fileno()
        os.set_blocking(descriptor, False)
        waiting = select.poll()
        waiting.register(descriptor, select.POLLOUT)
        while view:
            if not waiting.poll(max(0.0, self._left()) * 1000):
                raise self._unusable(expired=True)
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._unusable(ended=True) from None
        os.set_blocking(descriptor, True)

    def take_over(self) -> None:
        """From now on a gateway reads, and closes that direction when it ends."""
        self._taken_over = True

    def established(self) -> None:
        """The agent has answered: from now on silence ends the link; raises Unusable if the deadline has ended it."""
        with self._closing:
            if self._obituary:
                raise self.late()
            self._heard = time.monotonic()
            self._deadline = None

    def again(self, login: Login) -> SshLink:
        """A further try at the same host, under the same deadline."""
        return SshLink(self.spec, login, self._started, self._timeout, self.execmodel)

    def expired(self) -> bool:
        return self._left() <= 0

    @property
    def logged_in(self) -> bool:
        return self._logged_in is not None

    def late(self) -> Unusable:
        """The deadline passed after the login: Python runs on the host, and its agent has not answered."""
        took = (self._logged_in or self._started) - self._started
        return Unusable(self.spec, "slow-agent", *ssh_messages.late(self._as_chosen, took, self._timeout))

    def _left(self) -> float:
        return (self._deadline or 0.0) - time.monotonic()

    def _unusable(self, *, expired: bool = False, ended: bool = False) -> Unusable:
        if not ended:
            self.kill()
        status = self._end(1.0)
        said = self._words() + "\n" + self._noise.decode("utf-8", "replace")
        cause = ssh_messages.cause(self._as_chosen, said, status, self._timeout if expired else None)
        return Unusable(self.spec, cause.code, cause.sentence, cause.remedy, said)

    # execnet's IO

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; EOFError when the host is gone, or silent."""
        waiting = select.poll()
        waiting.register(self._from_host, select.POLLIN)
        data = b""
        while len(data) < size:
            patience = (self._heard + self.silence if self._deadline is None else self._deadline) - time.monotonic()
            # never longer than a silence: the deadline of the connecting may be lifted while this waits
            if waiting.poll(max(0.0, min(patience, self.silence)) * 1000):
                more = os.read(self._from_host.fileno(), min(size - len(data), 1 << 20))
                if not more:
                    raise EOFError(f"the host is gone: expected {size} bytes, got {len(data)}")
                data += more
                self._heard = time.monotonic()
            elif patience <= 0 and self._given_up():
                raise EOFError(self._obituary)
        return data

    def _given_up(self) -> bool:
        """Ends the connection, unless the agent's answer has lifted the deadline meanwhile."""
        with self._closing:
            silent = self._deadline is None
            if silent and time.monotonic() < self._heard + self.silence:
                return False
            self._obituary = f"no sign of life for {self.silence:g} s" if silent else "no answer in time"
            self.kill()
            return True

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._to_host.write(view) or 0 :]
        except ValueError:  # closed by another thread
            raise BrokenPipeError(errno.EPIPE, "the connection is closed") from None

    def close_read(self) -> None:
        self._from_host.close()

    def close_write(self) -> None:
        with contextlib.suppress(OSError):
            self._to_host.close()

    def wait(self) -> int | None:
        return self._process.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    # its end

    def close(self) -> None:
        """Ends the agent and waits until ssh has ended, or kills it.  May be called again."""
        with self._closing:
            if self._said.closed:
                return
            self.close_write()  # the host reads the end of its input
            if self._end(FAREWELL) is None:
                self.kill()
                self._process.wait()
            self._obituary = self.last_words()
            self._said.close()
            if not self._taken_over:
                self.close_read()

    def last_words(self) -> str:
        """How the connection ended: ssh's words and status, for the error that names the host as lost."""
        with self._closing:
            if self._said.closed:
                return self._obituary
            status = self._end(1.0)
            if status is None:
                how = "ssh still runs"
            elif status < 0:
                how = f"ssh was ended by {signal.Signals(-status).name}"
            else:
                how = f"ssh ended with status {status}"
            parts = (ssh_messages.quoted(self._words()), f"    {self._obituary or how}")
            return "\n".join(part for part in parts if part)

    def _end(self, timeout: float) -> int | None:
        """Ssh's exit status, None when it still runs after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def _words(self) -> str:
        size = os.fstat(self._said.fileno()).st_size
        return os.pread(self._said.fileno(), LAST_WORDS, max(0, size - LAST_WORDS)).decode("utf-8", "replace")
