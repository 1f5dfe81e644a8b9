"""The programs of the applications, and the Debian packages that bring them.  ./overcast has the same list."""

from __future__ import annotations

import shutil

from lab.errors import NotRun

PACKAGES = {
    "dnsmasq": "dnsmasq-base",
    "udhcpc": "udhcpc",
    "keepalived": "keepalived",
    "avahi-daemon": "avahi-daemon",
}
TOOLS = {"ping": "iputils-ping", "tcpdump": "tcpdump", "ip": "iproute2"}
"""What a user looks around with in a lab."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing(*programs: str) -> list[str]:
    """
    Those of the programs that are not installed on this machine.

    Every lab is run by this machine's own programs: a guest's file system is this machine's.
    """
    return [program for program in programs if shutil.which(program, path=SYSTEM_PATH) is None]


def require(*programs: str) -> None:
    """NotRun where one of the programs is not installed."""
    if lacking := missing(*programs):
        verb = "is" if len(lacking) == 1 else "are"
        raise NotRun(f"{' and '.join(lacking)} {verb} not installed", remedy=remedy(lacking))


def remedy(programs: list[str]) -> str:
    """The command that installs the programs."""
    packages = " ".join(PACKAGES[program] for program in programs)
    return f"sudo apt-get install --no-install-recommends {packages} (sudo ./overcast --applications does it)"
