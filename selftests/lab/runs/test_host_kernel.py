"""
The host-kernel path with gretap, on a machine whose kernel has none: pytest itself runs inside a guest.

    this machine -- guest kernel: pytest --kernel=host -- agent in the guest's own namespaces
"""

import sys

import execnet

from lab.machines import choose
from lab.machines.base import ROOT, Agent, call

DELIVERY = ROOT / "tests/broadcast/test_delivery.py"
MINUTE = 60.0


def test_gretap_on_the_host_kernel():
    """With --kernel=host on a kernel that has gretap, the lab is built there and delivery holds."""
    starting = choose.start(choose.choose("guest", "gretap"), execnet.Group())
    machine = starting.machine()
    command = [sys.executable, "-m", "pytest", "--kernel=host", "-p", "no:cacheprovider", "--reports=/run/reports"]
    command += [
        f"--rootdir={ROOT}",
        f"--config-file={ROOT / 'pytest.ini'}",
        str(ROOT / "tests/broadcast/test_delivery.py"),
    ]

    home = machine.call(Agent.node_home)
    (done,) = machine.batch([call(Agent.run, node=home, arguments=command, timeout=MINUTE)], timeout=2 * MINUTE)
    starting.close()

    assert " passed" in done["output"], done["output"] + done["errors"]
    assert " failed" not in done["output"]
    assert "local kernel" in done["output"]
