"""
Faults of XDP programs: they drop on a NIC before any capture sees the packet, as a load balancer's or a CNI's may.

The program is loaded by bpf(2) and attached by route netlink, inside the node, with nothing but Python's own library.
"""

from __future__ import annotations

from lab.clouds.firmware import GRE, UDP
from lab.errors import EnvironmentProblem
from lab.faults.places import victim
from lab.faults.table import read
from lab.laboratory import BuiltLab

LOADER = r"""
import ctypes, os, platform, socket, struct, sys

def instruction(code, destination=0, source=0, offset=0, value=0):
    return struct.pack("<BBhi", code, destination | source << 4, offset, value)

DROPPED, UDP, VXLAN, IPV4 = int(sys.argv[2]), 17, socket.htons(4789), socket.htons(0x0800)
BYTE, HALF, WORD = 0x71, 0x69, 0x61
program = [
    instruction(WORD, 2, 1, 0),             # r2 = data
    instruction(WORD, 3, 1, 4),             # r3 = data_end
    instruction(0xBF, 4, 2),                # r4 = r2
    instruction(0x07, 4, value=38),         # r4 += Ethernet, IPv4, UDP ports
    instruction(0x2D, 4, 3, 7),             # shorter: pass
    instruction(HALF, 5, 2, 12),
    instruction(0x55, 5, 0, 5, IPV4),       # not IPv4: pass
    instruction(BYTE, 5, 2, 23),
    instruction(0x15, 5, 0, 5, DROPPED),    # the protocol: drop
    instruction(0x55, 5, 0, 2, UDP),        # not UDP: pass
    instruction(HALF, 5, 2, 36),
    instruction(0x15, 5, 0, 2, VXLAN),      # VXLAN: drop
    instruction(0xB7, 0, value=2),          # pass: XDP_PASS
    instruction(0x95),
    instruction(0xB7, 0, value=1),          # drop: XDP_DROP
    instruction(0x95),
]
code = ctypes.create_string_buffer(b"".join(program))
license = ctypes.create_string_buffer(b"GPL")
PROG_LOAD, TYPE_XDP = 5, 6
where = ctypes.addressof(code), ctypes.addressof(license)
wanted = struct.pack("=IIQQIIQII", TYPE_XDP, len(program), *where, 0, 0, 0, 0, 0)
libc = ctypes.CDLL(None, use_errno=True)
bpf = 280 if platform.machine() == "aarch64" else 321
loaded = libc.syscall(bpf, PROG_LOAD, ctypes.create_string_buffer(wanted, 128), 128)
if loaded < 0:
    sys.exit("bpf(2): " + os.strerror(ctypes.get_errno()))
RTM_SETLINK, REQUEST_ACK, NESTED, IFLA_XDP, FD, FLAGS, GENERIC = 19, 5, 0x8000, 43, 1, 3, 2
inner = struct.pack("=HHi", 8, FD, loaded) + struct.pack("=HHI", 8, FLAGS, GENERIC)
body = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(sys.argv[1]), 0, 0)
body += struct.pack("=HH", 4 + len(inner), IFLA_XDP | NESTED) + inner
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
link.send(struct.pack("=IHHII", 16 + len(body), RTM_SETLINK, REQUEST_ACK, 1, 0) + body)
number = -struct.unpack_from("=i", link.recv(4096), 16)[0]
if number:
    sys.exit("RTM_SETLINK: " + os.strerror(number))
"""


def attach(lab: BuiltLab, host: str, device: str = "", protocol: int = GRE) -> None:
    """Puts the program, which drops a protocol and VXLAN, on a host's NIC; EnvironmentProblem where none can be."""
    done = lab[host].node.run("python3", "-c", LOADER, device or lab.plans[host].nic, str(protocol))
    if done["status"] != 0:
        raise EnvironmentProblem(
            f"no XDP program could be attached at {host}: {done['errors'].strip()}",
            remedy="a kernel with CONFIG_BPF_SYSCALL, and root",
        )


FAULTS = read(
    """\
xdp-drops-tunnel: an XDP program on a spoke's NIC drops GRE and VXLAN before a capture can see them
    red: PRE-03 PRE-04 BCAST-01; finding: xdp-drops at spoke {nic}
xdp-drops-datagrams: an XDP program on a spoke's overlay device drops UDP that comes out of the tunnel
    red: BCAST-01 MCAST-01 PRE-03; finding: xdp-drops at spoke {device}
    """,
    {
        "xdp-drops-tunnel": lambda lab: attach(lab, victim(lab).name),
        "xdp-drops-datagrams": lambda lab: attach(lab, victim(lab).name, victim(lab).plan.device, UDP),
    },
)
