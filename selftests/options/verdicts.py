"""
What each requirement came to, for tunnels x providers x numbers of spokes: recorded, and two records compared.

    python -m selftests.options.verdicts record BEFORE.json [-k vxlan]      some minutes; in the checkout it is run in
    python -m selftests.options.verdicts compare BEFORE.json AFTER.json     status 1 when they differ

A change of the design that must not change any verdict is compared with the commit before it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TUNNELS = ("vxlan", "gretap", "geneve", "ip6gretap")
PROVIDERS = ("oci", "aws", "gcp", "azure")
SPOKES = (2, 1, 5)
DEADLINE = 900  # seconds; 15 to 60 in practice

Record = dict[str, dict[str, str]]


def measured(tunnel: str, provider: str, spokes: int) -> dict[str, str]:
    """The outcome of each requirement in one run, and that of the run."""
    options = [f"--tunnel={tunnel}", f"--provider={provider}", f"--spokes={spokes}"]
    with tempfile.TemporaryDirectory() as reports:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--reports={reports}", *options]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=DEADLINE, check=False)
        result = Path(reports, "conformance.json")
        judged = json.loads(result.read_text(encoding="utf-8"))["requirements"] if result.exists() else []
    return {"status": str(done.returncode), **{one["id"]: one["outcome"] for one in judged}}


def record(path: Path, chosen: str) -> None:
    """Writes what each combination came to; combinations that the file already has are not run again."""
    found: Record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for tunnel, provider, spokes in itertools.product(TUNNELS, PROVIDERS, SPOKES):
        name = f"{tunnel} {provider} {spokes}"
        if chosen in name and name not in found:
            found[name] = measured(tunnel, provider, spokes)
            path.write_text(json.dumps(found, indent=1), encoding="utf-8")
            print(f"{name}: {dict(Counter(found[name].values()))}", flush=True)


def differences(before: Record, after: Record) -> list[str]:
    """A line for each outcome that is not the same, and for each that only one record has."""
    return [
        f"{name} {key}: {before.get(name, {}).get(key, '-')} -> {after.get(name, {}).get(key, '-')}"
        for name in {**before, **after}
        for key in {**before.get(name, {}), **after.get(name, {})}
        if before.get(name, {}).get(key) != after.get(name, {}).get(key)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("file", type=Path)
    recording.add_argument("-k", default="", help="only the combinations that contain this text")
    comparing = commands.add_parser("compare")
    comparing.add_argument("files", type=Path, nargs=2)
    chosen = parser.parse_args()
    if chosen.command == "record":
        record(chosen.file, chosen.k)
        return 0
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in chosen.files)
    found = differences(before, after)
    compared = sum(len(after.get(name, {})) for name in before)
    print(*found, f"{len(before)} runs, {compared} outcomes: {len(found)} differences", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
