"""The state of a node in words, one line for each thing: what is configured, what was learned and counted."""

from __future__ import annotations

from lab.diagnose.words import devices, filtering, routing
from lab.diagnose.words.devices import State


def configured(state: State) -> list[str]:
    """Every line of one node's configuration; equal lines, equal configurations."""
    return [
        *devices.links(state),
        *devices.ports(state),
        *devices.vlans(state),
        *devices.addresses(state),
        *routing.rules(state),
        *routing.routes(state),
        *routing.written(state),
        *filtering.qdiscs(state),
        *filtering.filters(state),
        *filtering.firewall(state),
        *devices.sysctls(state),
        *(f"not read: {what}: {why}" for what, why in state.get("unread", {}).items()),
    ]
