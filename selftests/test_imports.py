"""
Allowed imports, and the other rules of the packages that a machine can check.

    tests -> fixtures, lab.model, changes   fixtures -> lab   reports -> the data of lab
    lab: diagnose -> laboratory -> probes, overlay, underlay -> machines; agent -> nothing else of ours

Read from the syntax trees, so that an import inside a function or under TYPE_CHECKING counts like any other.
"""

from __future__ import annotations

import ast
import ipaddress
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = frozenset({"lab", "fixtures", "reports", "tests", "selftests", "conftest"})
DATA = (
    "lab.model",
    "lab.stack.changes",
    "lab.errors",
    "lab.firewall",
    "lab.topology.graph",
    "lab.clouds.native_multicast",
    "lab.groups",
    "lab.topology.topologies",
    "lab.topology.designs",
    "lab.clouds.providers",
    "lab.clouds.firmware",
    "lab.requirements",
    "lab.output.finding_text",
    "lab.stack.records",
    "lab.output.secrets",
    "lab.output.steps",
    "lab.tunnels",
)
FAR_SIDE = ("lab/agent", "lab/machines")
MOST_LINES = 400
MOST_MODULES = 12
NOT = "Not here: "
IN_A_TEXT = re.compile(r"from (lab[\w.]*) import (\w+(?:, \w+)*)")
TYPE = re.compile(r"[A-Z][a-z]+([A-Z][a-z0-9]*)*")
TYPE_VARIABLES = ("Result",)
OWN = str(Path(__file__).relative_to(ROOT))


@dataclass(frozen=True)
class Package:
    """The imports allowed for the modules under one path; a longer path overrides a shorter one."""

    path: str
    ours: tuple[str, ...]
    """Modules and packages of this project, in addition to the package itself."""
    others: tuple[str, ...] | None = None
    """Packages of others, in addition to the standard library; None for any that is not in `never`."""
    never: tuple[str, ...] = ()


PYTEST = ("pytest", "_pytest", "xdist", "allure", "allure_commons", "allure_pytest")
BELOW_DIAGNOSE = ("lab.probes", "lab.overlay", "lab.underlay")
PACKAGES = (
    # The data of a kind of tunnel are in its own module.
    Package("tests", ("lab.model", "lab.groups", "lab.stack.changes", "lab.tunnels", "fixtures"), others=("pytest",)),
    Package("fixtures", ("lab",)),
    Package(
        "reports",
        (
            "lab.model",
            "lab.topology.graph",
            "lab.requirements",
            "lab.diagnose.codes",
            "lab.errors",
            "lab.output.finding_text",
            "lab.interrupts",
            "lab.output.secrets",
            "lab.output.steps",
        ),
    ),
    Package("lab", ("lab",), never=PYTEST),
    Package("lab/commands", ("lab",), others=("execnet",)),
    *(Package(f"{name.replace('.', '/')}.py", DATA, others=()) for name in DATA),
    Package("lab/tunnels", ("lab.model", "lab.stack.changes", "lab.errors"), others=()),
    Package("lab/agent", (), others=("pyroute2", "typing_extensions")),
    Package(
        "lab/machines",
        ("lab.model", "lab.errors", "lab.interrupts", "lab.stack.records", "lab.output.steps", "lab.tunnels"),
        others=("execnet", "typing_extensions"),
    ),
    # Both ends of the wire use the same messages, and the agent's own methods name its verbs.
    Package(
        "lab/machines/base.py",
        ("lab.model", "lab.errors", "lab.interrupts", "lab.agent"),
        others=("execnet",),
    ),
    # What this kernel can do is asked over the agent's netlink, and read where the agent reads it.
    Package(
        "lab/machines/abilities.py",
        ("lab.tunnels", "lab.agent.modules", "lab.agent.prerequisites", "lab.agent.rtnl"),
        others=(),
    ),
    # The first process of a live host's agent: it ends the programs that the agent runs.
    Package(
        "lab/machines/live/ssh_init.py",
        ("lab.agent.execution.programs", "lab.machines.flow_control"),
        others=("execnet",),
    ),
    # The first process of a guest: on the far side, it loads modules as the agent does later.
    Package(
        "lab/machines/guests/guest_init.py", ("lab.agent.modules", "lab.machines.flow_control"), others=("execnet",)
    ),
    Package("lab/underlay", (*DATA, "lab.machines"), never=PYTEST),
    Package("lab/overlay", (*DATA, "lab.machines"), never=PYTEST),
    Package("lab/probes", (*DATA, "lab.machines"), never=PYTEST),
    Package(
        "lab/diagnose",
        (*DATA, *BELOW_DIAGNOSE, "lab.machines", "lab.laboratory", "lab.host", "lab.tunnel_packets"),
        never=PYTEST,
    ),
    # A rule reads the scene and sends no request.
    Package(
        "lab/diagnose/rules",
        (*DATA, *BELOW_DIAGNOSE, "lab.diagnose"),
        never=PYTEST,
    ),
)


def package_of(path: str) -> Package:
    """Return the package with the longest path that the file lies in."""
    return max((one for one in PACKAGES if within(path, one.path, "/")), key=lambda one: len(one.path))


def within(name: str, whole: str, separator: str = ".") -> bool:
    """Say whether a dotted name (or a path) is the other one or lies in it."""
    return name == whole or name.startswith(whole + separator)


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything that a module imports; `package` resolves relative imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
            origin = (base + (node.module or "")).rstrip(".")
            names = [alias.name for alias in node.names]
            # From a folder one takes modules: `from lab import model` is lab.model, as `from lab.model import Node` is.
            folder = ROOT.joinpath(*origin.split(".")).is_dir()
            yield from ((node.lineno, f"{origin}.{name}" if folder else origin) for name in names)


def forbidden_imports(path: str, source: str) -> list[str]:
    """Return one line for each import that the file's package does not allow."""
    package = package_of(path)
    itself = package.path.removesuffix(".py").replace("/", ".")
    lines = []
    for line, name in imports(ast.parse(source), str(Path(path).parent).replace("/", ".")):
        top = name.partition(".")[0]
        if top in OURS:
            allowed = any(within(name, other) for other in (*package.ours, itself))
        elif top in sys.stdlib_module_names:
            allowed = True
        else:
            allowed = top not in package.never and (package.others is None or top in package.others)
        if not allowed:
            may = ", ".join((*package.ours, *(package.others or ()))) or "the standard library alone"
            lines.append(f"{path}:{line} imports {name}; {package.path} may import {may}")
    return lines


def sleeps(path: str, source: str) -> list[str]:
    """Return one line for each fixed sleep, called or imported."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        called = isinstance(node, ast.Attribute) and node.attr == "sleep"
        imported = isinstance(node, ast.ImportFrom) and any(alias.name == "sleep" for alias in node.names)
        if called or imported:
            lines.append(f"{path}:{node.lineno} sleeps; wait for the event instead")
    return lines


def unclaimed(path: str, source: str) -> list[str]:
    """Return one line for each test whose docstring is missing or does not end as a sentence does."""
    return [
        f"{path}:{node.lineno} {node.name} has no docstring that states its claim and ends with a full stop"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if not (ast.get_docstring(node) or "").endswith(".")
    ]


ADDRESS = re.compile(r"(?<![\w.:])(?:(?:\d{1,3}\.){3}\d*|[0-9a-f:]*::[0-9a-f:]*)")
BY_RFC = {
    "0.0.0.0",  # unspecified (RFC 1122)
    "224.0.0.2",  # all routers (RFC 1112)
    "224.0.0.5",  # OSPF (RFC 2328)
    "224.0.0.22",  # IGMPv3 (RFC 3376)
    "224.0.0.251",  # mDNS (RFC 6762)
    "ff02::16",  # MLDv2 (RFC 3810)
    "fe80::",  # the link-local prefix (RFC 4291)
}
DOCUMENTATION = tuple(map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")))


def missing_in_texts(path: str, source: str) -> list[str]:
    """One line for each import in a string that names neither a module of `lab` nor a name in one."""
    strings = [
        one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.Constant) and isinstance(one.value, str)
    ]
    found = [(one.lineno, *import_) for one in strings for import_ in IN_A_TEXT.findall(str(one.value))]
    return [
        f"{path}:{line}: {module}.{name}"
        for line, module, names in found
        for name in names.split(", ")
        if not _is_there(module, name)
    ]


def _is_there(module: str, name: str) -> bool:
    path = ROOT / module.replace(".", "/")
    if path.is_dir():
        return (path / f"{name}.py").is_file() or (path / name).is_dir()
    return path.with_suffix(".py").is_file() and name in path.with_suffix(".py").read_text(encoding="utf-8")


def typed_addresses(path: str, source: str) -> list[str]:
    """One line for each address in a string (docstrings aside) that no RFC gives its meaning."""
    tree = ast.parse(source)
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        f"{path}:{string.lineno}: {address}"
        for string in strings
        if id(string) not in described
        for address in ADDRESS.findall(str(string.value))
        if address not in BY_RFC and not _is_documentation(address)
    ]


def _is_documentation(address: str) -> bool:
    try:
        return any(ipaddress.ip_address(address) in network for network in DOCUMENTATION)
    except ValueError:  # a part of one, as in an f-string
        return False


def files(*folders: str) -> list[tuple[str, str]]:
    """Return path (from the root) and source of every module in the folders."""
    found = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    assert found, f"no Python file in {folders}: is {ROOT} the checkout?"
    return [(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in found]


def test_packages_import_only_what_they_may() -> None:
    """No module imports what its package may not."""
    modules = files("tests", "fixtures", "reports", "lab")
    wrong = [line for path, source in modules for line in forbidden_imports(path, source)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("path", "source", "allowed"),
    [
        ("tests/bcast/test_x.py", "from lab.model import Node", True),
        ("tests/bcast/test_x.py", "from lab import model", True),
        ("tests/bcast/test_x.py", "import lab.agent.service", False),
        ("tests/bcast/test_x.py", "def f():\n    from scapy.all import Ether", False),
        ("fixtures/built_labs/labs.py", "from reports.html import page", False),
        ("reports/plugin.py", "from lab.machines.local import LocalMachine", False),
        ("lab/bench.py", "import pytest", False),
        ("lab/model.py", "from .machines import base", False),
        ("lab/agent/capture/taps.py", "from lab.errors import OvercastError", False),
        ("lab/agent/capture/taps.py", "from . import sockets\nimport pyroute2.netlink, json", True),
        ("lab/agent/capture/taps.py", "import scapy", False),
        ("lab/machines/guests/uml.py", "from lab.overlay import plan", False),
        ("lab/diagnose/rules.py", "from lab.probes import taps", True),
        ("lab/probes/taps.py", "from lab.diagnose import rules", False),
    ],
)
def test_checker_distinguishes_right_from_wrong(path: str, source: str, allowed: bool) -> None:
    """A forbidden import is found, and an allowed one is not."""
    assert (not forbidden_imports(path, source)) is allowed


def test_every_package_states_what_belongs_in_it() -> None:
    """The docstring of a package has a sentence of what belongs in it, and of what does not."""
    roots = sorted(path for name in (*OURS, "installed") for path in (ROOT / name).rglob("__init__.py"))
    described = {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in roots}

    assert len(described) > 15
    lacking = [str(path.relative_to(ROOT)) for path, text in described.items() if ".\n" not in text or NOT not in text]
    assert not lacking, f"begin with what belongs in it, end with '{NOT}...': {lacking}"


def test_nothing_sleeps() -> None:
    """The library, the fixtures and the tests wait for events, never for time to pass."""
    assert sleeps("x.py", "import time\ntime.sleep(1)")
    assert sleeps("x.py", "from time import sleep")
    wrong = [line for path, source in files("lab", "fixtures", "tests") for line in sleeps(path, source)]
    assert not wrong, "\n".join(wrong)


def test_code_in_texts_imports_what_is_there() -> None:
    """What one Python starts another one with names modules that exist, which no other check reads."""
    assert missing_in_texts("x.py", "A = 'import sys; from lab.agent import nothing; nothing.main()'") == [
        "x.py:1: lab.agent.nothing"
    ]
    searched = [(path, source) for path, source in files("lab", "fixtures", "selftests") if path != OWN]
    assert [line for path, source in searched for line in missing_in_texts(path, source)] == []


def test_no_test_types_an_address() -> None:
    """A test takes addresses and groups from the lab or the run: typed ones exist in one lab only, or are in use."""
    typed = [line for path, source in files("tests") for line in typed_addresses(path, source)]

    assert typed == []
    assert sorted(typed_addresses("x.py", 'A, B, C = "172.16.254.255", f"239.1.1.{1}", "fd00::1"')) == [
        "x.py:1: 172.16.254.255",
        "x.py:1: 239.1.1.",
        "x.py:1: fd00::1",
    ]
    assert typed_addresses("x.py", 'A, B = "02:00:00:00:00:01", "198.51.100.0"') == []


def test_modules_stay_small() -> None:
    """No module is longer than a reader can remember."""
    lines = {path: source.count("\n") for path, source in files("lab", "fixtures", "reports", "tests", "selftests")}
    long = {path: count for path, count in lines.items() if count > MOST_LINES}
    assert not long, f"more than {MOST_LINES} lines, to be split: {long}"


def test_packages_stay_small() -> None:
    """No package has more modules than a reader takes in at a glance."""
    searched = files("fixtures", "reports", "lab", "selftests")
    packages = Counter(str(Path(path).parent) for path, _ in searched if "__init__" not in path)
    large = {package: count for package, count in packages.items() if count > MOST_MODULES}
    assert not large, f"more than {MOST_MODULES} modules, to be split: {large}"


def test_a_class_has_a_name_of_its_own() -> None:
    """No two classes, or types that are named, have the same name: a name stands for one thing."""
    trees = [ast.parse(source) for _, source in files("fixtures", "reports", "lab")]
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assigned = [node.targets[0] for tree in trees for node in tree.body if isinstance(node, ast.Assign)]
    names.update(each.id for each in assigned if isinstance(each, ast.Name) and TYPE.fullmatch(each.id))
    names = Counter({name: count for name, count in names.items() if name not in TYPE_VARIABLES})
    assert {"Finding", "Carrier"} <= names.keys()
    assert [name for name, count in names.items() if count > 1] == []


def test_every_test_states_its_claim() -> None:
    """Each test has a docstring that is a sentence."""
    wrong = [line for path, source in files("tests", "selftests") for line in unclaimed(path, source)]
    assert not wrong, "\n".join(wrong)


def test_remote_code_supports_the_oldest_python() -> None:
    """What runs on a live host's own Python parses there and leaves annotations unevaluated."""
    for path, source in files(*FAR_SIDE):
        tree = ast.parse(source, filename=path, feature_version=(3, 9))
        future = any(name == "__future__" for _, name in imports(tree, ""))
        assert future or len(tree.body) <= 1, f"{path} lacks: from __future__ import annotations"


def test_root_conftest_names_plugins_only() -> None:
    """The root conftest holds its docstring and a list of plugins that exist."""
    tree = ast.parse((ROOT / "conftest.py").read_text(encoding="utf-8"))
    docstring, *rest = tree.body
    assert isinstance(docstring, ast.Expr)
    assert [ast.unparse(node.targets[0]) for node in rest if isinstance(node, ast.Assign)] == ["pytest_plugins"]
    assert len(rest) == 1, "conftest.py names plugins, nothing else"
    assert isinstance(rest[0], ast.Assign)
    plugins = ast.literal_eval(rest[0].value)
    missing = [name for name in plugins if not (ROOT / f"{name.replace('.', '/')}.py").is_file()]
    assert not missing, f"conftest.py names plugins that do not exist: {missing}"
