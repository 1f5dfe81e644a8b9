"""
The tools that make an overlay at boot, started from its files by a shell, without a system around them.

    room ── chroot ── files of the host ── networkd, NetworkManager, ifup or a unit's commands, in a node's stack

Each runs with mounts of its own; what it starts ends with the stack's machine.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NETWORKD, NETWORK_MANAGER, IFUP = "/lib/systemd/systemd-networkd", "/usr/sbin/NetworkManager", "/sbin/ifup"
FIREWALLD = "/usr/sbin/firewalld"
IPV6_OF_LO = "echo 0 >/proc/sys/net/ipv6/conf/lo/disable_ipv6"
"""A daemon gives devices IPv6, and a host answers itself by `lo`, which has that on a real host."""
SYSFS = "mount -t sysfs -o ro sysfs /sys 2>/dev/null || mountpoint -q /sys"
"""That of the host's own stack, which another daemon may have mounted already."""
PREPARED = f"""
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp /run/network
chown -R systemd-network:systemd-network /run/systemd/netif
{SYSFS}
{IPV6_OF_LO}
"""
"""What systemd gives networkd at its start; with a /sys that cannot be written it does not wait for udev."""
BUS = "mkdir -p /run/dbus\n[ -S /run/dbus/system_bus_socket ] || dbus-daemon --system --fork"
"""A message bus of a host's own."""
MANAGED = f"""
mount -t tmpfs own /var/lib/NetworkManager
{SYSFS}
{IPV6_OF_LO}
{BUS}
cat >/run/nm.conf <<END
[main]
plugins=keyfile
[keyfile]
unmanaged-devices=interface-name:{{nic}},interface-name:lo
END
{NETWORK_MANAGER} --config=/run/nm.conf
"""
"""A bus and a NetworkManager of a host's own, which leaves the NIC alone; both end with the host."""
ADDRESSED = """
ip -4 addr flush dev {nic}
ip addr add {address} brd + dev {nic}
ip route replace default via {gateway} dev {nic}
"""
"""A NIC's address as DHCP gives it: without a broadcast address networkd sets the same address again for ever."""
GUARDED = f"""
nft -c add table inet overcast
{BUS}
{FIREWALLD} --nofork --nopid --log-target=console &
timeout 60 /usr/bin/python3 -c '
from gi.repository import Gio, GLib
loop = GLib.MainLoop()
name = "org.fedoraproject.FirewallD1"
Gio.bus_watch_name(Gio.BusType.SYSTEM, name, 0, lambda *_: loop.quit(), None)
loop.run()
'
firewall-cmd --state
"""
"""A firewalld of a host's own: it answers once it has loaded its rules; a guest kernel may have no nftables."""
GENERATED = "chmod 600 /etc/netplan/*.yaml\nnetplan generate\n"
LEASED = """
for file in /etc/systemd/network/*.network /run/systemd/network/*.network; do
    if [ -e "$file" ] && grep -qiE '^DHCP *= *(yes|true|1|on|ipv4)' "$file"; then
        own=/run/systemd/network/"${{file##*/}}".d
        mkdir -p "$own"
        printf '%s\\n' [Network] DHCP=no LinkLocalAddressing=no IPv6AcceptRA=no Address={address} Gateway={gateway} \
            >"$own"/zz-rehearsal.conf
    fi
done
"""
"""The address that the cloud's DHCP server gives a NIC: a lab has no such server."""
STANZAS = """
mkdir -p /run/network
for when in pre-up up down post-down; do mkdir -p /etc/network/if-$when.d; done
for file in /etc/network/interfaces /etc/network/interfaces.d/*; do
    if [ -e "$file" ]; then
        sed -i -E 's/^([[:space:]]*iface[[:space:]]+{nic}[[:space:]]+inet6?[[:space:]]+)[a-z]+/\\1manual/' "$file"
    fi
done
ifup -a --exclude=lo
"""
"""A NIC has its address in the lab already; what its stanza runs is run."""


@dataclass(frozen=True)
class Tool:
    """A tool that makes links, or loads rules, at boot: its programs, and the packages of Debian that they are in."""

    title: str
    programs: tuple[str, ...]
    package: str
    start: str
    """The commands that start it; `{nic}`, `{address}` and `{gateway}` are the host's."""

    @property
    def lack(self) -> str:
        """What brings it, where it is not installed here; empty where it is."""
        lacking = [name for name in self.programs if not Path(name).exists()]
        return f"sudo apt-get install --no-install-recommends {self.package}" if lacking else ""


LOADED = 'for file in {}; do if [ -e "$file" ]; then {} "$file"; fi; done\n'
TOOLS = {
    "nft": Tool(
        "nft",
        ("/usr/sbin/nft",),
        "nftables",
        LOADED.format("/etc/nftables.conf /etc/sysconfig/nftables.conf", "nft -f"),
    ),
    "iptables": Tool(
        "iptables",
        ("/usr/sbin/iptables-restore",),
        "iptables",
        LOADED.format("/etc/iptables/rules.v4 /etc/sysconfig/iptables", "iptables-restore"),
    ),
    "firewalld": Tool("firewalld", (FIREWALLD, "/usr/bin/dbus-daemon"), "firewalld dbus", GUARDED),
    "netplan": Tool("netplan", ("/usr/sbin/netplan", NETWORKD), "netplan.io", GENERATED),
    "systemd-networkd": Tool("systemd-networkd", (NETWORKD,), "systemd", f"{LEASED}{PREPARED}{NETWORKD} &\n"),
    "NetworkManager": Tool(
        "NetworkManager",
        (NETWORK_MANAGER, "/usr/bin/dbus-daemon"),
        "network-manager dbus",
        f"chmod -f 600 /etc/NetworkManager/system-connections/* || true\n{MANAGED}",
    ),
    "ifupdown": Tool("ifupdown", (IFUP,), "ifupdown", STANZAS),
}
"""In the order in which a boot starts them."""
ROOM = """
set -e
room=/run/room
mkdir $room
mount -t tmpfs -o mode=755 own $room
cd $room
mkdir -p etc/network dev proc sys run usr root home opt srv mnt tmp var/tmp var/log var/lib/NetworkManager var/lib/dbus
ln -s ../run var/run
mount --bind /usr usr
mount -o remount,bind,ro usr
for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L /$name ]; then
        cp -a /$name .
    elif [ -d /$name ]; then
        mkdir $name
        mount --bind /$name $name
        mount -o remount,bind,ro $name
    fi
done
mount -t tmpfs -o mode=755 own usr/local
mkdir usr/local/bin usr/local/sbin
names="passwd group nsswitch.conf protocols services ld.so.cache ld.so.conf ld.so.conf.d alternatives dbus-1 iproute2"
for name in $names; do
    if [ -e "/etc/$name" ]; then cp -a "/etc/$name" etc; fi
done
for name in null zero random urandom tty; do
    if [ -e /dev/$name ]; then
        touch dev/$name
        mount --bind /dev/$name dev/$name
    fi
done
mount -t proc proc proc
mount --bind proc/sys/net mnt
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --move mnt proc/sys/net
if [ -e usr/bin/kmod ]; then mount --bind usr/bin/true usr/bin/kmod; fi
base64 -d /run/host.tar | tar -x -C $room
mv /run/boot.sh $room/run/boot.sh
exec setpriv --bounding-set -sys_boot,-sys_module,-sys_time,-sys_rawio chroot $room sh /run/boot.sh
"""
"""
A root of a host's own: this machine's programs, read-only, and the host's files; parameters outside the network stack
cannot be written, modules not loaded.  A host's script meets nothing of this machine.
"""


def packed(files: Mapping[str, str]) -> bytes:
    """Files as a tar; a script is executable."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for path, text in files.items():
            entry, data = tarfile.TarInfo(path.lstrip("/")), text.encode()
            entry.size, entry.mode = len(data), 0o755 if text.startswith("#!") else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return target.getvalue()
