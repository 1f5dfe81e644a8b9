"""
A live host's prerequisites apart from its network stack, read-only: modules, sysctl files, DMI, identity.

Sources: sysctl.d(5), modprobe.d(5), machine-id(5), Documentation/ABI/testing/sysfs-class-dmi.
Standard library alone, Python 3.9 or newer.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

from lab.agent import modules

DMI = "/sys/class/dmi/id"
DMI_FIELDS = ("sys_vendor", "product_name", "product_version", "chassis_asset_tag", "board_vendor", "bios_vendor")
MACHINE_ID = "/etc/machine-id"
OS_RELEASE = "/etc/os-release"
SYSCTL_FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
SYSCTL_CONF = "/etc/sysctl.conf"
SYSTEMD = "/run/systemd/system"
MODPROBE_FOLDERS = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/lib/modprobe.d")
LARGEST = 1 << 20  # octets of a file that are of use to anybody


def examine(wanted: Sequence[str], sysctls: Sequence[str]) -> dict[str, Any]:
    """
    Properties of the machine.

    `modules`: the state of each of `wanted` (see `modules.state`; with the entry of modprobe.d that blocks it);
    `persisted`: by sysctl, the file and the value that a boot sets last; `dmi`: field by field; `machine_id`; `os`: ID
    and ID_LIKE of os-release(5).
    """
    return {
        "modules": {name: [modules.state(name, modules_directory()), _forbidden(name)] for name in wanted},
        "persisted": _persisted(sysctls),
        "dmi": {name: text for name in DMI_FIELDS if (text := _text(os.path.join(DMI, name)))},
        "machine_id": _text(MACHINE_ID),
        "os": system(),
    }


def _text(path: str) -> str:
    """A file's text without the newline; empty when there is none or it may not be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read(LARGEST).strip()
    except OSError:
        return ""


def system() -> str:
    """ID and ID_LIKE of os-release(5)."""
    named = dict(line.split("=", 1) for line in _text(OS_RELEASE).splitlines() if "=" in line)
    return " ".join(named.get(key, "").strip("\"'") for key in ("ID", "ID_LIKE")).strip()


def modules_directory() -> str:
    """Where the running kernel's modules are."""
    release = os.uname().release
    places = [f"/lib/modules/{release}", f"/usr/lib/modules/{release}"]
    if guest := os.environ.get(modules.DIRECTORY):
        return guest
    return next((place for place in places if os.path.isdir(place)), places[0])


def _forbidden(name: str) -> str:
    """The line of modprobe.d that keeps a module from being loaded when it is needed; empty when there is none."""
    spelling = name.replace("_", "[-_]")
    line_of = re.compile(rf"^\s*(blacklist\s+{spelling}\s*$|install\s+{spelling}\s.*(/bin/false|/bin/true).*$)", re.M)
    for path in _configuration(MODPROBE_FOLDERS):
        found = line_of.search(_text(path))
        if found:
            return f"{path}: {found[1].strip()}"
    return ""


def _configuration(folders: Iterable[str]) -> list[str]:
    """The files of a configuration in the order in which they are read: by name, the first folder's of equal names."""
    by_name: dict[str, str] = {}
    for folder in folders:
        for path in glob.glob(os.path.join(folder, "*.conf")):
            by_name.setdefault(os.path.basename(path), path)
    return [by_name[name] for name in sorted(by_name)]


def sysctl_files() -> list[str]:
    """
    The files that set kernel parameters at boot, in the order in which they are read.

    sysctl(8) reads /etc/sysctl.conf last; systemd-sysctl only through a link in sysctl.d, and in that link's place.
    """
    return [*_configuration(SYSCTL_FOLDERS), *([] if os.path.isdir(SYSTEMD) else [SYSCTL_CONF])]


def _persisted(names: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sysctl_files():
        for line in _text(path).splitlines():
            key, separator, value = line.strip().partition("=")
            name = key.strip().lstrip("-").replace("/", ".")
            if separator and name in names and not key.startswith(("#", ";")):
                found[name] = [os.path.realpath(path), value.strip()]  # `sed -i` would replace a link
    return found
