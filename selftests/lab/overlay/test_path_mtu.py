"""The command of a fix measures a path that drops larger packets without an ICMP error, as tracepath cannot."""

from __future__ import annotations

import shutil

import pytest

from lab.laboratory import Lab
from lab.overlay.commands import path_mtu
from lab.underlay.policy import longer_rule

NARROW = 1412
PATIENCE = 60.0


@pytest.mark.skipif(shutil.which("ping") is None, reason="ping is not installed: sudo apt-get install iputils-ping")
@pytest.mark.parametrize("narrow", [NARROW, None])
def test_a_path_that_drops_larger_packets_silently_is_measured(lab: Lab, narrow: int | None) -> None:
    """The command prints the path's MTU, and that of the NICs where the path has none of its own."""
    spoke, nic_mtu = lab["spoke2"].plan, lab.underlay.provider.mtu
    if narrow:
        lab.cloud.lose(spoke.name, longer_rule(narrow))

    done = lab["hub"].node.run("sh", "-c", path_mtu(spoke.endpoint, nic_mtu), timeout=PATIENCE)

    assert done["output"].split() == [str(narrow or nic_mtu)], done
