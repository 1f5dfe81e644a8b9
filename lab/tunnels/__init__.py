"""
The kinds of tunnel, a module each; a further kind is registered here.

Not here: the tunnels of one overlay (`lab.model`), and their set-up (`lab.overlay`).
"""

from __future__ import annotations

from lab.errors import UsageProblem
from lab.tunnels import geneve, gretap, ip6gretap, none, vxlan
from lab.tunnels.kind import TunnelKind

KINDS: dict[str, TunnelKind] = {
    kind.name: kind for kind in (gretap.GRETAP, vxlan.VXLAN, geneve.GENEVE, ip6gretap.IP6GRETAP)
}
NONE = none.NONE
"""Not one of them: the cloud delivers groups by itself."""
DEFAULT = gretap.GRETAP.name
FALLBACK = vxlan.VXLAN.name
"""For clouds that block GRE, and kernels without it."""


def kind(name: str) -> TunnelKind:
    """The kind of a name; UsageProblem names the ones there are."""
    if name == NONE.name:
        return NONE
    if name not in KINDS:
        raise UsageProblem(f"unknown tunnel kind {name!r}: expected one of {', '.join(KINDS)}, {NONE.name}")
    return KINDS[name]
