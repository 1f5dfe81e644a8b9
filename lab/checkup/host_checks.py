"""What one live host needs by itself: Python, rights, driver, kernel parameters, firewall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.boot import persistence
from lab.boot.common import SYSCTLS
from lab.checkup.check import Check
from lab.checkup.live_host import BRIDGE, MEMBERSHIPS, MODULES, OVER_TUNNELS, REVERSE_PATH, LiveHost
from lab.clouds import firmware
from lab.clouds.firmware import GRE, UDP, Carrier
from lab.diagnose.parameters import ROWS
from lab.firewall.matches import PacketPattern
from lab.machines import abilities
from lab.model import NodePlan, Provider
from lab.overlay.recognition.readback import BROADCAST_PING
from lab.tunnels import FALLBACK

BRIDGE_DEVICE = "bridge0"
"""The name that the hub's bridge is given where there is none yet."""
BRIDGE_CALLS = "net.bridge.bridge-nf-call-iptables"
BONDED = "two-hubs-bond"
"""The design with two hubs that needs no PRP device."""


def checks(
    host: LiveHost,
    plan: NodePlan | None,
    kind: str,
    carrier: Carrier,
    named: Provider | None,
    *,
    hub: bool,
    over: Sequence[str] = (),
) -> Iterator[Check]:
    """
    Everything that can be said of a host alone; `plan` is its place in the overlay, None while it has none.

    `over` are the kinds of link that the host needs over its tunnels.  `named` is the cloud that the user names; None:
    the firmware's.
    """
    yield Check("ok", host.role, "host", f"{host.spec.destination}, Python {host.facts['python']}, {_kernel(host)}")
    yield _rights(host)
    yield _cloud(host, carrier, named)
    yield _driver(host, MODULES.get(kind, kind), kind)
    if hub:
        yield _driver(host, BRIDGE, BRIDGE)
    for each in over:
        yield _driver(host, OVER_TUNNELS[each], each)
    if plan is None:  # of what is set up already, the diagnosis of the overlay judges the effect
        yield _reverse_path(host)
        yield _memberships(host)
        if hub:
            yield _bridge_filter(host)
    if plan is None or host.sysctls.get(BROADCAST_PING) == "0":
        yield _broadcast_ping(host)


def _kernel(host: LiveHost) -> str:
    return f"Linux {host.facts['kernel']}"


def _rights(host: LiveHost) -> Check:
    if host.node.rooted:
        return Check("ok", host.role, "rights", "root")
    found = f"running as uid {host.facts['uid']}, not root: no captures, tunnel probes or firewall rules"
    return Check(
        "warning", host.role, "rights", found, f"--sudo, or in --hosts: {host.spec.variant(sudo='true')}", at=""
    )


def _cloud(host: LiveHost, carrier: Carrier, named: Provider | None) -> Check:
    dmi = host.details["dmi"]
    cloud = firmware.DetectedCloud(named, "--provider") if named else firmware.detect(dmi)
    if cloud is None:
        vendor = " ".join(dmi[name] for name in ("sys_vendor", "product_name") if name in dmi)
        return Check("ok", host.role, "cloud", f"no known cloud ({vendor or 'the firmware names none'})")
    found = f"{cloud.provider.title} ({cloud.evidence})"
    if carrier.protocol == GRE and not cloud.provider.gre:
        remedy = firmware.opening(cloud.provider, carrier, [])
        dropping = f"{found}, which drops IP protocol 47"
        return Check("problem", host.role, "cloud", dropping, remedy, at="", problem="the cloud drops GRE")
    return Check("ok", host.role, "cloud", found)


def _driver(host: LiveHost, module: str, kind: str) -> Check:
    """Whether the kernel can make links of a kind (PRE-01)."""
    if any(device.kind == kind for device in host.seen.devices.values()):
        return Check("ok", host.role, module, f"there is a {kind} already")
    state, against = host.details["modules"][module]
    if state == "present":
        return Check("ok", host.role, module, "in the kernel")
    if state == "missing":
        found = f"{_kernel(host)} has no {module}, which {kind} needs: it is neither loaded nor loadable"
        return Check("problem", host.role, module, found, _bringing(host, module), problem=f"no {module} module")
    if state == "unlisted":
        found = f"not loaded; {_kernel(host)} has no list of modules (modules.dep), so it may be loadable or not"
        return Check("warning", host.role, module, found, f"sudo modprobe {module}   (shows whether it is)")
    if against:
        found = f"there, but not loaded when it is needed ({against})"
        loading = f"sudo modprobe {module}    # and take that line out"
        return Check("problem", host.role, module, found, loading, problem=f"the {module} module is not loaded")
    return Check("ok", host.role, module, "the kernel loads it when it is needed")


def _bringing(host: LiveHost, module: str) -> str:
    """What can make links of this kind on a host whose kernel has no module for them."""
    ways = [abilities.package_with_modules(host.details["os"], host.facts["kernel"])]
    if module in OVER_TUNNELS.values():
        other, instead = OVER_TUNNELS["bond"], f"use a bond, which this kernel has (--topology={BONDED})"
        kernel = f"boot a kernel with CONFIG_{module.upper()}"
    else:
        other, kernel = MODULES[FALLBACK], f"boot a kernel that has {module}"
        instead = f"make the tunnels {FALLBACK.upper()}, which this kernel has (--tunnel={FALLBACK})"
    if module not in (other, BRIDGE) and host.details["modules"][other][0] in ("present", "loadable"):
        ways.append(instead)
    return "; or ".join(filter(None, ways)) or kernel


def _broadcast_ping(host: LiveHost) -> Check:
    """Whether the host answers broadcast pings, now (PRE-02) and after a boot (BOOT-02)."""
    value = host.sysctls.get(BROADCAST_PING)
    if value != "0":
        found = f"icmp_echo_ignore_broadcasts is {value}, expected 0: it would answer no broadcast ping"
        answering = f"{persistence.ANSWERED} && sudo sysctl -p {SYSCTLS}"
        return Check(
            "problem", host.role, "broadcast ping", found, answering, problem="does not answer broadcast pings"
        )
    persisted = host.details["persisted"]
    for one in persistence.ping(host.role, persisted):
        return Check("warning", host.role, "broadcast ping", one.summary, one.remedy)
    return Check("ok", host.role, "broadcast ping", f"answered, also after a boot ({persisted[BROADCAST_PING][0]})")


def _reverse_path(host: LiveHost) -> Check:
    """Whether a packet with an underlay source that comes out of a tunnel is received (PRE-07)."""
    value = max(int(host.sysctls.get(name) or 0) for name in REVERSE_PATH)
    if value == 1:
        found = "rp_filter is 1 for new devices: drops datagrams whose sender is bound to its underlay address"
        remedy = "sudo sysctl -w net.ipv4.conf.all.rp_filter=2    # or bind applications to overlay addresses"
        return Check("warning", host.role, "reverse path", found, remedy)
    return Check("ok", host.role, "reverse path", f"rp_filter is {value} for new devices")


def _memberships(host: LiveHost) -> Check:
    row = next(one for one in ROWS if one.name == MEMBERSHIPS)
    value = int(host.sysctls.get(MEMBERSHIPS) or row.usual)
    if row.wrong(value):
        found = f"a socket may join {value} groups, expected {row.usual} or more (igmp_max_memberships)"
        return Check("warning", host.role, "groups", found, f"sudo sysctl -w {MEMBERSHIPS}={row.usual}")
    return Check("ok", host.role, "groups", f"a socket may join {value} (igmp_max_memberships)")


def _bridge_filter(host: LiveHost) -> Check:
    """Whether a chain that is meant for routing will drop what the hub bridges (PRE-06)."""
    if host.seen.sysctls.get(BRIDGE_CALLS) != "1":
        return Check("ok", host.role, "bridge filter", "bridged packets do not pass iptables")
    remedy = f"sudo sysctl -w {BRIDGE_CALLS}=0"
    if host.firewall is None:
        found = f"{BRIDGE_CALLS} is 1: bridged packets pass the FORWARD chain, which cannot be read without root"
        return Check("warning", host.role, "bridge filter", found, remedy)
    verdict = host.firewall.of(PacketPattern(UDP, BRIDGE_DEVICE, BRIDGE_DEVICE, kind="broadcast"), "forward")
    if verdict.passes:
        found = f"{BRIDGE_CALLS} is 1; the FORWARD chain accepts bridged packets"
        return Check("ok", host.role, "bridge filter", found)
    if verdict.passes is False:
        found = f"{BRIDGE_CALLS} is 1; bridged packets are dropped ({verdict.why})"
        return Check("problem", host.role, "bridge filter", found, remedy, problem="drops bridged packets")
    found = f"{BRIDGE_CALLS} is 1; the rules do not show whether bridged packets pass ({verdict.why})"
    return Check("warning", host.role, "bridge filter", found, remedy)
