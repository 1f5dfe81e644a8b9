"""The files of hosts that are to last over a boot or are not, each with what the doctor has to say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.agent.boot import ifupdown as boot_ifupdown
from lab.boot import common
from lab.boot.formats import ifupdown, networkd, networkmanager, shell
from lab.model import TunnelOptions
from lab.overlay.recognition.readback import ConfiguredNode, Device
from lab.stack.records import Route
from lab.topology import designs
from lab.tunnels.kind import TunnelEnd

PLAN = common.sized(designs.topology("star", 2, TunnelOptions(kind="gretap"), 9000), 9000)
NODE = PLAN.node("spoke1")
SEEN = ConfiguredNode(
    NODE.name,
    {
        "gretap1": Device(
            "gretap1",
            "gretap",
            up=True,
            multicast=True,
            mtu=PLAN.mtu or 0,
            mac=common.mac(NODE),
            tunnel=TunnelEnd("gretap", PLAN.hub.endpoint, NODE.endpoint, 64),
        )
    },
    [("gretap1", NODE.overlay)],
    [Route("inet", "224.0.0.0/4", dev="gretap1")],
    frozenset(),
    {},
)
"""The host with the overlay."""
BY_NETWORKD = networkd.files(PLAN, NODE)
BY_IFUPDOWN = ifupdown.files(PLAN, NODE)
BY_NETWORK_MANAGER = networkmanager.files(PLAN, NODE)
BY_SHELL = shell.files(PLAN, NODE)
SCRIPT = BY_SHELL[shell.SCRIPT]
SOURCED = {boot_ifupdown.INTERFACES: "source /etc/network/interfaces.d/*\n"}
WRITE = "./overcast plan"
GONE = "lost at the next boot: gretap1, the multicast route 224.0.0.0/4 (made by hand, in no file that a boot reads)"


@dataclass(frozen=True)
class State:
    """A host's files, other changes to them, and the expected report."""

    files: Mapping[str, str]
    state: str
    found: str
    fix: str = ""
    enabled: tuple[str, ...] = ()
    done: str = "true"
    needs: tuple[str, ...] = field(default=())
    """Programs, by their absolute paths."""


def changed(files: Mapping[str, str], old: str, new: str) -> dict[str, str]:
    assert any(old in text for text in files.values()), old
    return {path: text.replace(old, new) for path, text in files.items()}


NETWORKD = ("/lib/systemd/systemd-networkd",)
IFUP = ("/sbin/ifup",)
NETWORK_MANAGER = ("/usr/sbin/NetworkManager",)
ON = "systemd-networkd.service"
MAKING = [line.strip() for line in SCRIPT.splitlines() if line.startswith("    ip ") and " del " not in line]
BY_HAND = "; ".join(MAKING)
LOCAL = f"#!/bin/sh -e\n{BY_HAND}\n"
CRON = "cron.service"
STATES = {
    "nothing": State({}, "warning", GONE, "sudo systemctl enable overlay.service"),
    "in a comment": State(
        {"/etc/rc.local": "#!/bin/sh\n# ip link add gretap1; 224.0.0.0/4\n"}, "warning", GONE, shell.UNIT
    ),
    "networkd": State(BY_NETWORKD, "ok", "are named in /etc/systemd/network/", "", (ON,), needs=NETWORKD),
    "networkd not enabled": State(
        BY_NETWORKD,
        "warning",
        f"50-gretap1.network: {ON} is not enabled",
        f"sudo systemctl enable {ON}",
        needs=NETWORKD,
    ),
    "networkd masked": State(
        BY_NETWORKD,
        "warning",
        f"{ON} is masked",
        f"sudo systemctl unmask {ON} && sudo systemctl enable {ON}",
        (ON,),
        f"ln -sf /dev/null /etc/systemd/system/{ON}",
        needs=NETWORKD,
    ),
    "networkd, a tunnel that no NIC wants": State(
        changed(BY_NETWORKD, "Independent=yes\n", ""),
        "warning",
        "50-gretap1.netdev: it has no Independent=yes, and no .network file of a NIC of this host has Tunnel=gretap1",
        "a Independent=yes' /etc/systemd/network/50-gretap1.netdev",
        (ON,),
        needs=NETWORKD,
    ),
    "networkd, a tunnel of a NIC": State(
        {
            **changed(BY_NETWORKD, "Independent=yes\n", ""),
            "/etc/systemd/network/10-nic.network": "[Match]\nName=ens3\n[Network]\nTunnel=gretap1\n",
        },
        "ok",
        "are named in",
        "",
        (ON,),
        needs=NETWORKD,
    ),
    "networkd, another file first": State(
        {**BY_NETWORKD, "/etc/systemd/network/10-all.network": "[Match]\nName=gre*\n[Network]\nDHCP=yes\n"},
        "warning",
        "50-gretap1.network: /etc/systemd/network/10-all.network matches the same device and comes first",
        "sudo mv /etc/systemd/network/50-gretap1.network /etc/systemd/network/00-50-gretap1.network",
        (ON,),
        needs=NETWORKD,
    ),
    "networkd, a file for all first": State(
        {**BY_NETWORKD, "/etc/systemd/network/10-dhcp.network": "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n"},
        "warning",
        "/etc/systemd/network/10-dhcp.network matches the same device and comes first",
        "sudo mv",
        (ON,),
        needs=NETWORKD,
    ),
    "networkd, a first file for other devices": State(
        {
            **BY_NETWORKD,
            "/etc/systemd/network/10-dhcp.network": "[Match]\nKind=!*\nType=ether\n\n[Network]\nDHCP=yes\n",
            "/etc/systemd/network/20-nic.network": "[Match]\nName=ens3\n\n[Network]\nDHCP=yes\n",
        },
        "ok",
        "are named in",
        "",
        (ON,),
        needs=NETWORKD,
    ),
    "another other end": State(
        changed(BY_NETWORKD, PLAN.hub.endpoint, "10.0.0.99"),
        "warning",
        "50-gretap1.network lacks the other end of a tunnel 10.0.0.197",
        "/dev/stdin /etc/systemd/network/50-gretap1.netdev",
        (ON,),
        needs=NETWORKD,
    ),
    "another address": State(
        changed(BY_NETWORKD, str(NODE.overlay.ip), "172.16.254.77"),
        "warning",
        "lacks the overlay address 172.16.254.2",
        "/dev/stdin /etc/systemd/network/50-gretap1.network    # or correct the overlay, if the file is right",
        (ON,),
        needs=NETWORKD,
    ),
    "no route": State(
        changed(BY_NETWORKD, "224.0.0.0/4", "192.0.2.0/24"),
        "warning",
        "lost at the next boot: the multicast route 224.0.0.0/4 (made by hand",
        "/50-gretap1.network.d/multicast.conf && sudo networkctl reload",
        (ON,),
        needs=NETWORKD,
    ),
    "ifupdown": State(
        {**SOURCED, **BY_IFUPDOWN}, "ok", f"are named in {ifupdown.FILE}", "", ("networking.service",), needs=IFUP
    ),
    "ifupdown without auto": State(
        {**SOURCED, **changed(BY_IFUPDOWN, "auto gretap1", "")},
        "warning",
        "it has no `auto gretap1`",
        f"echo 'auto gretap1' | sudo tee -a {ifupdown.FILE}",
        ("networking.service",),
        needs=IFUP,
    ),
    "ifupdown not included": State(
        {boot_ifupdown.INTERFACES: "auto lo\n", **BY_IFUPDOWN},
        "warning",
        "/etc/network/interfaces has no `source /etc/network/interfaces.d/*`",
        "sudo tee -a /etc/network/interfaces",
        ("networking.service",),
        needs=IFUP,
    ),
    "NetworkManager": State(
        BY_NETWORK_MANAGER,
        "ok",
        "are named in /etc/NetworkManager/",
        "",
        ("NetworkManager.service",),
        f"chmod 600 {networkmanager.FOLDER}/*",
        needs=NETWORK_MANAGER,
    ),
    "NetworkManager, for all to read": State(
        BY_NETWORK_MANAGER,
        "warning",
        "NetworkManager refuses a file that others may read",
        "sudo chmod 600 /etc/NetworkManager/",
        ("NetworkManager.service",),
        needs=NETWORK_MANAGER,
    ),
    "NetworkManager, unmanaged": State(
        {
            **BY_NETWORK_MANAGER,
            "/etc/NetworkManager/conf.d/10-own.conf": "[keyfile]\n"
            "unmanaged-devices=interface-name:gre*;mac:02:00:00:00:00:01\n",
        },
        "warning",
        "/etc/NetworkManager/conf.d/10-own.conf has interface-name:gre* in unmanaged-devices",
        "systemctl reload NetworkManager",
        ("NetworkManager.service",),
        f"chmod 600 {networkmanager.FOLDER}/*",
        needs=NETWORK_MANAGER,
    ),
    "NetworkManager, on request": State(
        {
            path: text.replace("[connection]", "[connection]\nautoconnect=false")
            for path, text in BY_NETWORK_MANAGER.items()
        },
        "warning",
        "it has autoconnect=false",
        "nmcli connection reload",
        ("NetworkManager.service",),
        f"chmod 600 {networkmanager.FOLDER}/*",
        needs=NETWORK_MANAGER,
    ),
    "unit": State(BY_SHELL, "ok", f"are named in {shell.SCRIPT}", "", ("overlay.service",)),
    "unit not enabled": State(
        BY_SHELL, "warning", "overlay.service is not enabled", "sudo systemctl enable overlay.service"
    ),
    "script not executable": State(
        BY_SHELL,
        "warning",
        "it may not be executed",
        f"sudo chmod +x {shell.SCRIPT}",
        ("overlay.service",),
        f"chmod -x {shell.SCRIPT}",
    ),
    "rc.local": State({"/etc/rc.local": LOCAL}, "ok", "are named in /etc/rc.local"),
    "rc.local without the route": State(
        {"/etc/rc.local": LOCAL.replace("224.0.0.0", "192.0.2.0")}, "warning", "the multicast route 224.0.0.0/4", WRITE
    ),
    "rc.local with another other end": State(
        {"/etc/rc.local": LOCAL.replace(PLAN.hub.endpoint, "10.0.0.99")}, "warning", "10.0.0.197", "grep -n gretap1"
    ),
    "rc.local not executable": State(
        {"/etc/rc.local": LOCAL},
        "warning",
        "may not be executed",
        "sudo chmod +x /etc/rc.local",
        (),
        "chmod -x /etc/rc.local",
    ),
    "cron each hour": State({"/etc/cron.d/overlay": SCRIPT}, "warning", "cron does not run it at boot", "@reboot"),
    "another job of cron at boot": State(
        {"/etc/cron.d/overlay": f"@reboot root /x\n@hourly root {BY_HAND}\n"},
        "warning",
        "cron does not run it at boot",
        "@reboot",
        (CRON,),
    ),
    "cron at boot": State(
        {"/etc/cron.d/overlay": f"@reboot root {BY_HAND}\n"}, "ok", "named in /etc/cron.d/overlay", "", (CRON,)
    ),
    "cron at boot, by a script": State(
        {"/etc/cron.d/overlay": "@reboot root sh /usr/local/sbin/vpn\n", "/usr/local/sbin/vpn": BY_HAND},
        "ok",
        "named in /usr/local/sbin/vpn",
        "",
        (CRON,),
    ),
    "cron at boot, of another user": State(
        {"/var/spool/cron/crontabs/opc": f"@reboot {BY_HAND}\n"},
        "warning",
        "cron runs it as opc, who may not change interfaces",
        "sudo crontab -e",
        (CRON,),
    ),
    "cron at boot, of root": State(
        {"/var/spool/cron/crontabs/root": f"@reboot {BY_HAND}\n"}, "ok", "named in /var/spool/cron", "", (CRON,)
    ),
    "cron not enabled": State(
        {"/etc/cron.d/overlay": f"@reboot root {BY_HAND}\n"},
        "warning",
        "cron.service is not enabled",
        "sudo systemctl enable cron.service",
    ),
    "rc.local, by a script": State(
        {"/etc/rc.local": "#!/bin/sh\n/usr/local/sbin/vpn start\n", "/usr/local/sbin/vpn": LOCAL},
        "ok",
        "named in /usr/local/sbin/vpn",
    ),
    "rc.local, by a script that is not executable": State(
        {"/etc/rc.local": "#!/bin/sh\n/usr/local/sbin/vpn start\n", "/usr/local/sbin/vpn": BY_HAND},
        "warning",
        "/usr/local/sbin/vpn: it may not be executed",
        "sudo chmod +x /usr/local/sbin/vpn",
    ),
    "rc.local, masked": State(
        {"/etc/rc.local": LOCAL},
        "warning",
        "rc-local.service is masked",
        "sudo systemctl unmask rc-local.service",
        (),
        "ln -s /dev/null /etc/systemd/system/rc-local.service",
    ),
    "a script that no file runs": State({"/usr/local/sbin/vpn": SCRIPT}, "warning", GONE, shell.UNIT),
    "a unit whose script runs another": State(
        {
            **BY_SHELL,
            shell.SCRIPT: "#!/bin/sh\n. /usr/local/sbin/vpn\n",
            "/usr/local/sbin/vpn": BY_HAND,
        },
        "ok",
        "named in /usr/local/sbin/vpn",
        "",
        ("overlay.service",),
    ),
    "a unit by a timer at boot": State(
        {**BY_SHELL, "/etc/systemd/system/overlay.timer": "[Timer]\nOnBootSec=5\n"},
        "ok",
        f"named in {shell.SCRIPT}",
        "",
        ("overlay.timer",),
    ),
    "a unit by a timer each day": State(
        {**BY_SHELL, "/etc/systemd/system/overlay.timer": "[Timer]\nOnCalendar=daily\n"},
        "warning",
        "overlay.service is not enabled",
        "sudo systemctl enable overlay.service",
        ("overlay.timer",),
    ),
    "a unit of the rescue target": State(
        BY_SHELL,
        "warning",
        "overlay.service is not enabled",
        "sudo systemctl enable overlay.service",
        (),
        "cd /etc/systemd/system; mkdir rescue.target.wants; ln -s ../overlay.service rescue.target.wants",
    ),
    "ifupdown, plugged in": State(
        {**SOURCED, **changed(BY_IFUPDOWN, "auto gretap1", "allow-hotplug gretap1")},
        "warning",
        "it has no `auto gretap1`",
        f"echo 'auto gretap1' | sudo tee -a {ifupdown.FILE}",
        ("networking.service",),
        needs=IFUP,
    ),
    "ifupdown, another stanza without auto": State(
        {boot_ifupdown.INTERFACES: f"{BY_IFUPDOWN[ifupdown.FILE]}\niface wlan0 inet dhcp\n"},
        "ok",
        f"named in {boot_ifupdown.INTERFACES}",
        "",
        ("networking.service",),
        needs=IFUP,
    ),
    "ifupdown, a name with a dot": State(
        {
            boot_ifupdown.INTERFACES: "source-directory /etc/network/interfaces.d\n",
            f"{ifupdown.FILE}.cfg": BY_IFUPDOWN[ifupdown.FILE],
        },
        "warning",
        "leaves out names with a dot",
        f"sudo mv {ifupdown.FILE}.cfg",
        ("networking.service",),
        needs=IFUP,
    ),
    "two tools": State(
        {**BY_NETWORKD, **SOURCED, **BY_IFUPDOWN},
        "warning",
        "gretap1 is made by systemd-networkd (/etc/systemd/network/50-gretap1.network) and ifupdown",
        "# then take it out of all but one",
        (ON, "networking.service"),
        needs=(*NETWORKD, *IFUP),
    ),
    "not to be read": State(
        BY_NETWORKD,
        "warning",
        "is readable for root only",
        "--sudo",
        (ON,),
        "chmod 600 /etc/systemd/network/*; who=nobody",
    ),
}
