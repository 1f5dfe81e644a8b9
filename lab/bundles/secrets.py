"""A bundle without secrets (`lab.output.secrets`)."""

from __future__ import annotations

import json
from dataclasses import replace

from lab.bundles.bundle import Bundle, case_of, line
from lab.output.secrets import cleaned


def without_secrets(bundle: Bundle) -> Bundle:
    """A bundle in whose texts nothing is secret, whatever a failure's message or a firewall's rule quotes."""
    return replace(
        bundle,
        cases=tuple(case_of(cleaned(line(case))) for case in bundle.cases),
        results=json.loads(cleaned(json.dumps(bundle.results))),
        junit=cleaned(bundle.junit),
    )
