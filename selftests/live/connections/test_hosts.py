"""The values that `--hosts=` accepts, and its errors for all others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lab.errors import UsageProblem
from lab.machines.live.hosts import EXAMPLE, HostSpec, parse


def first(text: str) -> HostSpec:
    return parse(f"{text},other.example")[0]


@pytest.mark.parametrize(
    ("text", "host", "user", "port"),
    [
        ("hub.example", "hub.example", None, None),
        ("hub", "hub", None, None),
        ("opc@hub.example", "hub.example", "opc", None),
        ("ssh://hub.example", "hub.example", None, None),
        ("ssh://opc@10.1.0.5:2222", "10.1.0.5", "opc", 2222),
        ("ssh://opc@10.1.0.5:2222/", "10.1.0.5", "opc", 2222),
        ("10.1.0.5:2222", "10.1.0.5", None, 2222),
        ("ssh://opc@[2001:db8::5]:2222", "2001:db8::5", "opc", 2222),
        ("[fe80::1%eth0]", "fe80::1%eth0", None, None),
        ("ssh://first.last@hub_1", "hub_1", "first.last", None),
    ],
)
def test_user_host_and_port(text: str, host: str, user: str | None, port: int | None) -> None:
    """A host is written as for ssh and pytest-testinfra; ssh's configuration decides the rest."""
    spec = first(text)

    assert (spec.host, spec.user, spec.port) == (host, user, port)


def test_parameters() -> None:
    """The parameters have pytest-testinfra's names."""
    spec = first("ssh://opc@hub?sudo=True&python=/usr/bin/python3.9&timeout=2.5&ssh_config=~/c&ssh_identity_file=k")

    assert (spec.sudo, spec.python, spec.timeout) == (True, "/usr/bin/python3.9", 2.5)
    assert (spec.ssh_config, spec.ssh_identity_file) == ("~/c", "k")
    assert (first("hub").sudo, first("hub").python, first("hub").timeout) == (None, "python3", None)


def test_roles_follow_the_order() -> None:
    """The first host is the hub, the others are the spokes in their order."""
    assert [spec.role for spec in parse("a, b@x ,c")] == ["hub", "spoke1", "spoke2"]
    assert [spec.label for spec in parse("ssh://u@a:5,[::1],spoke2")] == ["u@a:5 (hub)", "::1 (spoke1)", "spoke2"]


def test_inventory(tmp_path: Path) -> None:
    """A file names one host per line, with comments and empty lines between them."""
    file = tmp_path / "hosts.txt"
    file.write_text("# the hub\nopc@hub.example   # in Frankfurt\n\n  ssh://spoke1.example?sudo=true\n")

    assert [spec.text for spec in parse(f"@{file}")] == ["opc@hub.example", "ssh://spoke1.example?sudo=true"]


def test_inventory_of_another_system(tmp_path: Path) -> None:
    """A byte-order mark and carriage returns, as Windows' editors write them, are no part of a host's name."""
    file = tmp_path / "hosts.txt"
    file.write_bytes("hub.example\r\n# in Zürich\r\nspoke1.example\r\n".encode("utf-8-sig"))

    assert [spec.text for spec in parse(f"@{file}")] == ["hub.example", "spoke1.example"]


INI = """
# from the play that made them
[spokes]
web1 ansible_host=10.0.0.25
web2 ansible_host=10.0.0.131 ansible_user=ubuntu

[hub]
gate ansible_host=10.0.0.197 ansible_port=2222 ; in front

[all:vars]
ansible_user=opc
ansible_become=yes
ansible_ssh_private_key_file=~/.ssh/id key

[hub:vars]
ansible_python_interpreter=/usr/bin/python3.9
ansible_user=core

[overlay:children]
hub
spokes
"""
LISTED = {
    "_meta": {"hostvars": {"gate": {"ansible_host": "2001:db8::5"}, "web1": {"ansible_become": True}}},
    "all": {"children": ["hub", "spokes"]},
    "spokes": {"hosts": ["web1"]},
    "hub": {"hosts": ["gate"]},
}
OUTPUTS = {
    "spokes": {"sensitive": False, "type": ["list", "string"], "value": ["10.0.0.25", "10.0.0.131"]},
    "vcn": {"value": None},
    "hub": {"sensitive": False, "type": "string", "value": "10.0.0.197"},
}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            INI,
            [
                "ssh://core@10.0.0.197:2222?ssh_identity_file=~/.ssh/id%20key&python=/usr/bin/python3.9&sudo=true",
                "ssh://opc@10.0.0.25?ssh_identity_file=~/.ssh/id%20key&sudo=true",
                "ssh://ubuntu@10.0.0.131?ssh_identity_file=~/.ssh/id%20key&sudo=true",
            ],
        ),
        (json.dumps(LISTED), ["ssh://[2001:db8::5]", "ssh://web1?sudo=true"]),
        (json.dumps(OUTPUTS), ["10.0.0.197", "10.0.0.25", "10.0.0.131"]),
    ],
    ids=["Ansible's INI", "ansible-inventory --list", "terraform output -json"],
)
def test_inventory_of_another_tool(tmp_path: Path, content: str, expected: list[str]) -> None:
    """What Ansible or Terraform list is taken as it is, a group or output `hub` first."""
    (file := tmp_path / "hosts").write_text(content)

    specs = parse(f"@{file}")

    assert [spec.text for spec in specs] == expected
    assert specs[0].role == "hub"


YAML = """
all:
  vars: {ansible_user: opc}
  children:
    spokes: {hosts: {web1: {ansible_host: 10.0.0.25}}}
    hub:
      hosts:
        gate: {ansible_host: 10.0.0.197}
"""


def test_inventory_in_yaml(tmp_path: Path) -> None:
    """Ansible's YAML is read by Ansible itself, where it is installed."""
    pytest.importorskip("ansible", reason="ansible is missing: .venv/bin/pip install -r requirements-dev.lock")
    (file := tmp_path / "hosts.yml").write_text(YAML)

    assert [spec.text for spec in parse(f"@{file}")] == ["ssh://opc@10.0.0.197", "ssh://opc@10.0.0.25"]

    file.write_text("all:\n  hosts: [\n")
    with pytest.raises(
        UsageProblem,
        match="expected a valid YAML inventory; found an error that ansible-inventory reports: YAML parsing ",
    ):
        parse(f"@{file}")


def test_inventory_in_yaml_without_ansible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Ansible the message names the command to run on a machine that has it."""
    (file := tmp_path / "hosts.yml").write_text(YAML)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))

    with pytest.raises(UsageProblem, match=r"expected ansible-inventory.*\(ansible-inventory -i FILE --list\)"):
        parse(f"@{file}")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[hub]\nweb[1:9]\n", "line 2: expected each host by itself (or: ansible-inventory"),
        ("[hub:kids]\na\n", "line 1: expected [group], [group:vars] or [group:children]; found [hub:kids]"),
        ("[hub]\na 'b\n", "line 2: expected a host and its variables"),
        ("[all]\n", "at least a hub and a spoke; found no host in the file"),
        ("{", "expected JSON of ansible-inventory or of terraform output"),
        ("{}", "the Terraform outputs `hub` and `spokes`, with addresses; found no outputs"),
        (
            '{"name": {"value": 3}}',
            "expected the Terraform outputs `hub` and `spokes`, with addresses; found only `name`",
        ),
    ],
)
def test_an_inventory_of_another_tool_that_cannot_be_understood(tmp_path: Path, content: str, expected: str) -> None:
    """An entry that is not understood is named, with its line if there is one."""
    (file := tmp_path / "hosts").write_text(content)

    with pytest.raises(UsageProblem) as refused:
        parse(f"@{file}")

    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected", "found"),
    [
        ("docker://a,b", "the scheme ssh", "'docker'"),
        ("http://opc:secret@a,b", "the scheme ssh", "'http'"),
        ("a?sudu=true,b", "one of the parameters sudo, python, timeout", "'sudu'"),
        ("a?sudo=yes,b", "sudo=true or false", "sudo=yes"),
        ("a?sudo,b", "sudo=true or false", "sudo="),
        ("a?timeout=0,b", "timeout=seconds, more than 0", "timeout=0"),
        ("a?timeout=nan,b", "timeout=seconds", "timeout=nan"),
        ("a?python=,b", "python=a path", "python="),
        ("a?python=-c,b", "python=a path", "python=-c"),
        ("a?sudo=true&sudo=false,b", "the parameter sudo once", "twice"),
        ("a:ssh,b", "a port from 1 to 65535", "'ssh'"),
        ("a:,b", "a port from 1 to 65535", "''"),
        ("a:65536,b", "a port from 1 to 65535", "'65536'"),
        ("[::1]:0,b", "a port from 1 to 65535", "'0'"),
        ("2001:db8::5,b", "brackets around an IPv6 address, ssh://[2001:db8::5]", "'2001:db8::5'"),
        ("[10.0.0.1],b", "an IPv6 address in brackets", "'[10.0.0.1]'"),
        ("[::1]22,b", "an IPv6 address in brackets", "'[::1]22'"),
        ("a,,b", "a host between the commas", "element 2"),
        ("a,b,", "a host between the commas", "element 3"),
        ("", "at least two hosts", "none"),
        ("opc@,b", "a host name or address", "none"),
        ("@a b,c", "a text file with one host per line", "No such file"),
        ("ssh://@a,b", "a user name before the @", "''"),
        ("-oProxyCommand=x,b", "a host name or address", "'-oProxyCommand=x'"),
        ("a b,c", "a host name or address", "'a b'"),
        ("-l@a,b", "a user name before the @", "'-l'"),
        ("ssh://a/etc,b", "[user@]host[:port]", "a path"),
        ("a", "at least two hosts", "one (a)"),
        ("a,b,A", "every host once", "'A' as hub and as spoke2"),
        ("a,u@a:22", "every host once", "'u@a:22' as hub and as spoke1"),
    ],
)
def test_what_cannot_be_understood(text: str, expected: str, found: str) -> None:
    """An invalid specification is rejected in one message: what was expected, what was found, an example."""
    with pytest.raises(UsageProblem) as refused:
        parse(text)

    said = str(refused.value)
    assert re.search(rf"expected {re.escape(expected)}.*; found .*{re.escape(found)}", said), said
    assert (EXAMPLE in said) is not text.startswith("@")  # the fault is then in the file
    assert "secret" not in said


def test_a_password_is_not_repeated() -> None:
    """A password in a specification is rejected, and not printed."""
    with pytest.raises(UsageProblem, match="without a password") as refused:
        parse("ssh://opc:secret@a,b")

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "at least a hub and a spoke; found no host in the file"),
        ("# none\n", "at least a hub and a spoke; found no host in the file"),
        ("a b\n", "one host per line, or a valid Ansible inventory; found 'a b'"),
        ("a,b\n", "one host per line, or a valid Ansible inventory; found 'a,b'"),
        ("a\nb:x\n", "a port from 1 to 65535; found 'x'"),
        ("a\n", "at least two hosts; found one (a)"),
        ("[hub\na\n", "one host per line, or a valid Ansible inventory; found '[hub'"),
        (
            "[overlay]\nhub\nspoke1 ansible_port=22\n[overlay:children\n",
            "a ] at the end of the group's name: [group], [group:vars] or [group:children]; found '[overlay:children'",
        ),
        ("[overlay]\nhub\nspoke1\n[:vars]\n", "[group], [group:vars] or [group:children]; found '[:vars]'"),
        ("[1, 2]\n", "a JSON object, as ansible-inventory and terraform output print it; found a JSON list"),
        ("[hubs]\n[spokes]\n", "at least a hub and a spoke; found no host in the file"),
        ("[hub]\na\n", "at least two hosts; found one (ssh://a)"),
        ("a ansible_port=x\nb\n", "a port from 1 to 65535; found 'x'"),
    ],
)
def test_an_inventory_that_cannot_be_understood(tmp_path: Path, content: str, expected: str) -> None:
    """A mistake in an inventory is named with the file's name, and with the line where there is one."""
    file = tmp_path / "hosts.txt"
    file.write_text(content)

    with pytest.raises(UsageProblem) as refused:
        parse(f"@{file}")

    assert expected in str(refused.value)
    assert str(file) in str(refused.value)
    assert EXAMPLE not in str(refused.value)
    if re.search(r"[,:]", content) and "JSON" not in expected:
        assert f"{file}, line {content.count(chr(10))}" in str(refused.value)


def test_an_inventory_that_is_no_text(tmp_path: Path) -> None:
    """A file that holds no text, or is none at all, is named."""
    file = tmp_path / "hosts.bin"
    file.write_bytes("hub\nspoke1\n".encode("utf-16"))
    with pytest.raises(
        UsageProblem,
        match=r"hosts\.bin, line 1: expected UTF-8 text; found UTF-16; convert it: iconv .* > .*hosts\.bin\.utf8",
    ):
        parse(f"@{file}")
    file.write_bytes("hub\nspoke1  # in Zürich\n".encode("latin-1"))
    with pytest.raises(UsageProblem, match=r"hosts\.bin, line 2: expected UTF-8 text; found the byte 0xfc"):
        parse(f"@{file}")
    with pytest.raises(UsageProblem, match="found a folder"):
        parse(f"@{tmp_path}")
    with pytest.raises(UsageProblem, match="no file name after the @"):
        parse("@")
