"""
A bundle: what a colleague needs to explain a run without its hosts, in one file.

    overcast-bundle.tar.gz    README.txt, summary.txt, hosts.txt     for people
                              conformance.json, junit.xml            the run's results
                              doctor.json                            in their place: live hosts were examined
                              diagnosis.jsonl                        the inputs of its diagnosis, one scene a line

A bundle may come from a stranger: it is read in memory, nothing of it is unpacked or executed, and whatever is wrong
with it is one EnvironmentProblem.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from lab.diagnose.explain import explain
from lab.diagnose.scene import Scene
from lab.errors import EnvironmentProblem
from lab.model import Finding
from lab.output.finding_text import identity
from lab.stack import records

SCHEMA = 2
ADDRESSES = (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)
SCENES, RESULTS, JUNIT, EXAMINED = "diagnosis.jsonl", "conformance.json", "junit.xml", "doctor.json"
KEPT = f"{SCENES}.gz"
"""What a run keeps of its diagnosis, beside its other results."""
MOST = 128 << 20
"""Octets that a bundle may have when it is decompressed; one of a lab with three hosts has a quarter of a MiB."""
BROKEN = (
    *(OSError, EOFError, zlib.error, tarfile.TarError, ValueError, TypeError, KeyError, RecursionError),
    msgspec.MsgspecError,
)
"""What reading a file that is not a bundle may raise."""


@dataclass(frozen=True)
class Case:
    """One overlay that a run has diagnosed, and the user's names for its hosts (live hosts have any)."""

    scene: Scene
    names: Mapping[str, str] = field(default_factory=dict)

    def findings(self) -> tuple[Finding, ...]:
        """What the diagnosis finds."""
        return tuple(replace(one, host=self.names.get(one.node, "")) for one in explain(self.scene))


@dataclass(frozen=True)
class Reported(Finding):
    """A finding as the run reported it, with the tests whose failure it explains."""

    tests: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same finding as another one."""
        return identity(vars(self))


@dataclass(frozen=True)
class Bundle:
    """The results of a run, or the doctor's report of live hosts, and the cases that the findings come from."""

    cases: tuple[Case, ...]
    results: Mapping[str, Any]
    junit: str = ""

    @property
    def of_hosts(self) -> bool:
        """Whether live hosts were examined, without a run."""
        return "checks" in self.results

    @property
    def reported(self) -> tuple[Reported, ...]:
        """The findings of the run, in its order."""
        return msgspec.convert(self.results["findings"], tuple[Reported, ...])

    @functools.cached_property
    def found(self) -> Mapping[tuple[str, ...], Finding]:
        """What the diagnosis finds in the scenes, by what identifies a finding."""
        every: dict[tuple[str, ...], Finding] = {}
        for case in self.cases:
            for finding in case.findings():
                every.setdefault(identity(vars(finding)), finding)
        return every


def line(case: Case) -> str:
    """A case as one line of JSON."""
    return msgspec.json.encode({"schema": SCHEMA, "case": case}, enc_hook=_text).decode()


def _text(value: Any) -> str:
    if isinstance(value, ADDRESSES):
        return str(value)
    raise TypeError(f"{value!r} has no form in JSON")


@dataclass(frozen=True)
class _Head:
    schema: int


@dataclass(frozen=True)
class _Line(_Head):
    case: Case


def case_of(text: str) -> Case:
    """The case of a line; a ValueError or an error of msgspec if it is none."""
    if (schema := msgspec.json.decode(text, type=_Head).schema) != SCHEMA:
        raise ValueError(f"its scenes have schema {schema}, this version of Overcast reads {SCHEMA}")
    case = msgspec.json.decode(text, type=_Line, dec_hook=_made).case
    hosts = {name: replace(host, readings=_records(host.readings)) for name, host in case.scene.hosts.items()}
    fabric, standby = _records(case.scene.fabric), _records(case.scene.standby)
    return replace(case, scene=replace(case.scene, hosts=hosts, fabric=fabric, standby=standby))


def _made(kind: Any, text: Any) -> Any:
    return kind(text) if isinstance(text, str) else msgspec.convert(text, str)


def _records(readings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Readings of the state of a host, whose types their names tell."""
    kinds: Mapping[str, Any] = records.TYPES
    return {what: msgspec.convert(each, list[kinds.get(what, Any)]) for what, each in readings.items()}  # type: ignore[misc]


def of_run(reports: Path, again: str = "./overcast") -> Bundle:
    """The bundle of the last run that wrote its results to a folder; `again`: the command that writes new ones."""
    results, kept = reports / RESULTS, reports / KEPT
    if not results.exists():
        lack = f"{reports} has no {RESULTS}: the last run there did not finish, or there was none"
        raise EnvironmentProblem(lack, remedy=again)
    if not kept.exists():
        lack = f"the run in {reports} has no diagnosis ({kept.name}): none of its tests failed"
        raise EnvironmentProblem(lack, remedy="pack a run with failed tests; --reports=DIR names another folder")
    junit = reports / JUNIT
    try:
        scenes = _decompressed(kept)
        texts = {RESULTS: results.read_bytes(), SCENES: scenes, JUNIT: junit.read_bytes() if junit.exists() else b""}
        return _bundle(texts)
    except BROKEN as error:
        _refuse(reports, error, f"{again}    # writes new results")


def write(bundle: Bundle, path: Path, texts: Mapping[str, str]) -> None:
    """Writes a bundle; `texts` are further files in it, for people."""
    every = {
        **texts,
        EXAMINED if bundle.of_hosts else RESULTS: json.dumps(bundle.results, indent=1) + "\n",
        **({} if bundle.of_hosts else {JUNIT: bundle.junit}),
        SCENES: "".join(f"{line(case)}\n" for case in bundle.cases),
    }
    part = path.with_name(f".{path.name}.part")
    try:
        with tarfile.open(part, "w:gz") as tar:
            for name, text in every.items():
                content = text.encode()
                member = tarfile.TarInfo(f"overcast-bundle/{name}")
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise EnvironmentProblem(f"{path} cannot be written: {error.strerror or error}") from error


def read(path: Path) -> Bundle:
    """The bundle in a file; EnvironmentProblem names in one message what is wrong with a file that is none."""
    try:
        texts = {}
        with tarfile.open(fileobj=io.BytesIO(_decompressed(path)), mode="r:") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
                if content is not None:
                    texts[Path(member.name).name] = content.read()
        return _bundle(texts)
    except BROKEN as error:
        of_live = "./overcast bundle --hosts=HUB,SPOKE,..."
        again = f"./overcast bundle    # packs the last run with failed tests; to pack live hosts: {of_live}"
        _refuse(
            path, error, f"name a file that is there, or: {again}" if isinstance(error, FileNotFoundError) else again
        )


def _decompressed(path: Path) -> bytes:
    with gzip.open(path) as packed:
        content = packed.read(MOST + 1)
    if len(content) > MOST:
        raise ValueError(f"it is larger than {MOST >> 20} MiB when it is decompressed")
    return content


def _bundle(texts: Mapping[str, bytes]) -> Bundle:
    kind = EXAMINED if EXAMINED in texts else RESULTS
    missing = [name for name in (SCENES, kind) if name not in texts]
    if missing:
        raise ValueError(f"it has no {' and no '.join(missing)}")
    results = json.loads(texts[kind])
    if not isinstance(results, dict) or not isinstance(results.get("findings"), list):
        raise ValueError(f"its {kind} has no findings")
    cases = tuple(case_of(text) for text in texts[SCENES].decode().splitlines())
    bundle = Bundle(cases, results, texts.get(JUNIT, b"").decode())
    _require_whole(bundle)
    return bundle


def _require_whole(bundle: Bundle) -> None:
    """ValueError where parts that fit their types do not belong together: a rule would fail by that."""
    try:
        _ = bundle.reported, bundle.found
    except Exception as error:
        raise ValueError(f"its parts do not belong together ({type(error).__name__}: {error})") from error


def _refuse(path: Path, error: Exception, remedy: str) -> NoReturn:
    why = error.strerror if isinstance(error, OSError) and error.strerror else f"{error}" or type(error).__name__
    why = "it is not a gzip file" if isinstance(error, gzip.BadGzipFile) else why
    raise EnvironmentProblem(f"bundle {path} cannot be read: {printable(why)}", remedy=remedy) from error


def printable(text: str) -> str:
    """A text without what a terminal would obey."""
    return "".join(one if one.isprintable() or one == "\n" else "?" for one in text)
