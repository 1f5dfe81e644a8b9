"""
Discovery by a real program: avahi-daemon announces a host's name, and every other host finds it by multicast DNS.

    find.py on hub, spoke2 ── news.local? ──▶ 224.0.0.251:5353 ──▶ avahi-daemon on spoke1 ──▶ 172.16.254.2
"""

from pathlib import Path

from lab.laboratory import Lab
from lab.machines import program

FIND = str(Path(__file__).with_name("find.py"))
CONFIG = """
[server]
host-name=news
allow-interfaces={device}
enable-dbus=no
"""
# avahi's user: an ordinary user's namespaces do not have it, and the folder is root's
USERS = {"/etc/passwd": "root:x:0:0::/:/bin/sh\navahi:x:0:0::/:/bin/sh\n", "/etc/group": "root:x:0:\navahi:x:0:\n"}
AVAHI = ("avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits", "-f", "/run/avahi.conf")


def test_every_host_finds_the_name(overlay: Lab) -> None:
    """What one host is called, all others find without a name server."""
    publisher = overlay["spoke1"]
    files = {"avahi.conf": CONFIG.format(device=publisher.plan.device), **USERS}
    program.start(publisher.node, *AVAHI, package="avahi-daemon", files=files, ready="Server startup complete")

    found = {name: overlay[name].node.run("python3", FIND, "news.local")["output"] for name in overlay.others("spoke1")}

    assert found == dict.fromkeys(found, f"news.local is {publisher.address()}\n")
