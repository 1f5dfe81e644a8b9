"""What the agent reads of a host: which file has the last word at a boot, and what keeps a module from being loaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.agent import modules, prerequisites

NAME = "net.ipv4.icmp_echo_ignore_broadcasts"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two folders of configuration, the first of which hides files of the same name in the second."""
    found = [tmp_path / "etc", tmp_path / "lib"]
    for folder in found:
        folder.mkdir()
    monkeypatch.setattr(prerequisites, "SYSCTL_FOLDERS", tuple(map(str, found)))
    monkeypatch.setattr(prerequisites, "MODPROBE_FOLDERS", tuple(map(str, found)))
    return found


@pytest.mark.parametrize(
    ("files", "value"),
    [
        ({}, None),
        ({"etc/10-a.conf": f"{NAME} = 0", "lib/20-b.conf": f"{NAME}=1"}, "1"),
        ({"etc/20-b.conf": f"{NAME} = 0", "lib/20-b.conf": f"{NAME}=1"}, "0"),
        ({"etc/10-a.conf": f"# {NAME} = 0\n;{NAME}=0"}, None),
        ({"etc/10-a.conf": "-net/ipv4/icmp_echo_ignore_broadcasts=0"}, "0"),
        ({"etc/10-a.conf": "net.ipv4.icmp_echo_ignore_all = 0"}, None),
    ],
)
def test_the_file_that_has_the_last_word(folders: list[Path], files: dict[str, str], value: str | None) -> None:
    """Files are read by name, and one of /etc instead of its namesake (sysctl.d(5))."""
    for name, text in files.items():
        (folders[0].parent / name).write_text(text + "\n")

    found = prerequisites._persisted([NAME])

    assert (found[NAME][1] if NAME in found else None) == value


@pytest.mark.parametrize(
    ("systemd", "link", "value"), [(True, False, "1"), (True, True, "0"), (False, False, "0"), (False, True, "0")]
)
def test_sysctl_conf_is_read_where_a_boot_reads_it(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch, systemd: bool, link: bool, value: str
) -> None:
    """systemd-sysctl reads /etc/sysctl.conf only through its link in sysctl.d; sysctl(8) reads it last."""
    conf = folders[0].parent / "sysctl.conf"
    monkeypatch.setattr(prerequisites, "SYSCTL_CONF", str(conf))
    monkeypatch.setattr(prerequisites, "SYSTEMD", str(folders[0] if systemd else folders[0] / "none"))
    conf.write_text(f"{NAME} = 0\n")
    (folders[0] / "10-a.conf").write_text(f"{NAME} = 1\n")
    if link:
        (folders[0] / "99-sysctl.conf").symlink_to(conf)

    path, found = prerequisites._persisted([NAME])[NAME]

    assert found == value
    assert path == (str(conf) if value == "0" else str(folders[0] / "10-a.conf"))


@pytest.mark.parametrize(
    ("line", "forbidden"),
    [
        ("blacklist ip_gre", True),
        ("blacklist ip-gre", True),
        ("install ip_gre /bin/false", True),
        ("# blacklist ip_gre", False),
        ("blacklist ip_gre6", False),
        ("options ip_gre log_ecn_error=1", False),
    ],
)
def test_what_keeps_a_module_out(folders: list[Path], line: str, forbidden: bool) -> None:
    """A line of modprobe.d that forbids a module is quoted with its file."""
    (folders[0] / "cis.conf").write_text(f"# hardening\n{line}\n")

    found = prerequisites._forbidden("ip_gre")

    assert found == (f"{folders[0]}/cis.conf: {line}" if forbidden else "")


@pytest.mark.parametrize(
    ("builtin", "loadable", "state"),
    [("ip_gre", "", "present"), ("", "ip_gre", "loadable"), ("", "", "missing"), (None, None, "unlisted")],
)
def test_whether_the_kernel_has_a_module(
    tmp_path: Path, builtin: str | None, loadable: str | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built in, loadable or neither, according to the kernel's lists; unknown without lists."""
    monkeypatch.setattr(modules, "_present", lambda name: False)
    monkeypatch.setattr(os.path, "exists", lambda path: True)
    if builtin is not None:
        (tmp_path / "modules.builtin").write_text(f"kernel/net/ipv4/{builtin}.ko\n")
        (tmp_path / "modules.dep").write_text(f"kernel/net/ipv4/{loadable}.ko.zst: kernel/net/ipv4/gre.ko.zst\n")

    assert modules.state("ip_gre", str(tmp_path)) == state
