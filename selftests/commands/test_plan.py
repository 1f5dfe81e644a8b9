"""`./overcast plan`: files for hosts that the user names, the same each time."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab.boot import additions, common, daemons
from lab.boot.daemons import TOOLS
from lab.boot.formats import terraform
from lab.commands.main import main
from lab.commands.plan import FORMATS
from lab.model import TunnelOptions
from lab.topology import designs

hcl2 = pytest.importorskip("hcl2", reason="python-hcl2 is missing: .venv/bin/pip install -r requirements-dev.lock")

GIVEN = ["plan", "--hub=gate=10.1.0.4", "--spokes=web1=10.1.0.5,10.1.0.6", "--format=shell"]


def written(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_each_host_has_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A host's folder is called as the user called the host, and its files have the user's addresses and subnet."""
    assert main([*GIVEN, "--overlay-subnet=192.168.7.0/24", "--mtu=1500", "-o", str(tmp_path)]) == 0

    files = written(tmp_path)
    assert {path.split("/")[0] for path in files} == {"gate", "web1", "spoke2", "README.md", terraform.FILE}
    script = files["web1/usr/local/sbin/overlay"]
    assert "mtu 1462 type gretap remote 10.1.0.4 local 10.1.0.5 " in script
    assert "ip addr replace 192.168.7.2/24 dev gretap1\n" in script
    assert "| web1 | 10.1.0.5 | 192.168.7.2/24 | gretap1 |" in files["README.md"]
    assert "--hosts=gate,web1,spoke2" in files["README.md"]
    assert capsys.readouterr().out == f"{tmp_path}/README.md lists where the 16 files go\n"


@pytest.mark.parametrize("tool", FORMATS)
def test_the_same_plan_is_the_same_text(tmp_path: Path, tool: str) -> None:
    """Two runs differ in nothing, so that what changes in a plan shows as a difference of files."""
    for name in ("one", "two"):
        assert main([*GIVEN, f"--format={tool}", "-o", str(tmp_path / name)]) == 0
    assert written(tmp_path / "one") == written(tmp_path / "two")


@pytest.mark.parametrize("tool", FORMATS)
def test_fifty_hosts_take_no_time(tmp_path: Path, tool: str) -> None:
    """Files for 50 hosts are written in a moment, in every format."""
    spokes = ",".join(f"10.1.0.{number}" for number in range(10, 59))
    began = time.process_time()
    assert main(["plan", "--hub=10.1.0.4", f"--spokes={spokes}", f"--format={tool}", "-o", str(tmp_path)]) == 0
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 50
    assert time.process_time() - began < 1.0


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing: apt-get install shellcheck")
@pytest.mark.parametrize("shape", ["star", "bridged", "mesh", "flood-list", "two-hubs-bond", "two-hubs-prp"])
def test_scripts_are_clean(tmp_path: Path, shape: str) -> None:
    """No script has anything that shellcheck finds wrong."""
    one, two = ["--hub=10.1.0.4"], ["--hub=10.1.0.4,10.1.0.8"]
    hub = {"star": one, "bridged": one, "mesh": [], "flood-list": []}.get(shape, two)
    hosts = "--spokes=10.1.0.5,10.1.0.6,10.1.0.7"
    assert (
        main(["plan", *hub, hosts, f"--topology={shape}", "--tunnel=vxlan", "--format=shell", "-o", str(tmp_path)]) == 0
    )
    for script in tmp_path.rglob("overlay"):
        done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


CLOUD_INIT = "usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json"
UNPACKED = Path(sys.prefix, "share/cloud-init")
"""Where the package of cloud-init is unpacked: installed, it would configure this machine at its next boot."""
SCHEMA = next((root / CLOUD_INIT for root in (Path("/"), UNPACKED) if (root / CLOUD_INIT).exists()), None)


@pytest.mark.skipif(
    SCHEMA is None,
    reason=f"cloud-init is missing: apt-get download cloud-init && dpkg-deb -x cloud-init_*.deb {UNPACKED}",
)
@pytest.mark.parametrize("shape", ["star", "bridged", "flood-list", "two-hubs-prp"])
def test_user_data_is_of_cloud_inits_schema(tmp_path: Path, shape: str) -> None:
    """cloud-init's own schema accepts the user data of each host, and would not accept another type."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is missing: pip install -r requirements-dev.lock")
    yaml = pytest.importorskip("yaml", reason="PyYAML is missing: .venv/bin/pip install -r requirements-dev.lock")
    hub = [] if shape == "flood-list" else ["--hub=10.1.0.4,10.1.0.8" if shape == "two-hubs-prp" else "--hub=10.1.0.4"]
    words = [*hub, "--spokes=10.1.0.5,10.1.0.6,10.1.0.7", f"--topology={shape}", "--tunnel=vxlan"]
    assert main(["plan", *words, "--format=cloud-init", "-o", str(tmp_path)]) == 0
    assert SCHEMA is not None
    schema = jsonschema.Draft4Validator(json.loads(SCHEMA.read_text()))
    texts = [yaml.safe_load(path.read_text()) for path in sorted(tmp_path.rglob("user-data"))]

    assert len(texts) == 3 + len(hub) + (shape == "two-hubs-prp")
    assert [error.message for text in texts for error in schema.iter_errors(text)] == []
    wrong = {**texts[0], "write_files": [{"path": 4}]}
    assert [error.message for error in schema.iter_errors(wrong)] == ["4 is not of type 'string'"]


COMMAND = re.compile(
    r"^ +(?:(?:pre-up|up|post-down|-) +(?!\|)"
    r"|(?=cp|modprobe|sysctl|chmod|systemctl|ifup|nmcli|netplan|firewall|iptables))(.+)$",
    re.MULTILINE,
)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing: apt-get install shellcheck")
@pytest.mark.parametrize(
    ("tool", "firewall"), [(tool, "nft") for tool in FORMATS] + [("shell", "firewalld"), ("shell", "iptables")]
)
def test_every_command_is_clean(tmp_path: Path, tool: str, firewall: str) -> None:
    """No command of a stanza, of the user data or of the README has anything that shellcheck finds wrong."""
    words = ["--tunnel=vxlan", f"--format={tool}", f"--firewall={firewall}"]
    assert main([*GIVEN, *words, "-o", str(tmp_path / "files")]) == 0
    texts = [
        text for path, text in written(tmp_path / "files").items() if path.endswith(("README.md", "overlay", "-data"))
    ]
    commands = dict.fromkeys(line for text in texts for line in COMMAND.findall(text) if not line.startswith("path:"))
    script = tmp_path / "commands.sh"
    script.write_text("#!/bin/sh\n" + "\n".join(commands) + "\n")

    assert len(commands) > 1 or tool == "ansible"
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing: apt-get install shellcheck")
@pytest.mark.parametrize("tool", additions.WRITES)
@pytest.mark.parametrize("having", [False, True], ids=["no file", "a file without the route"])
def test_what_writes_files_for_good_is_clean(tmp_path: Path, tool: str, having: bool) -> None:
    """No command that adds devices or the route to a host's files has anything that shellcheck finds wrong."""
    plan = common.sized(designs.topology("star", 2, TunnelOptions(), 9000), 9000)
    devices, group = plan.devices("hub"), str(plan.multicast_route)
    (path, *_) = additions.WRITES[tool][1](plan, plan.hub)
    used = [{"path": path.replace(".netdev", ".network"), "tool": tool, "words": devices}] if having else []
    host = additions.BootedHost(plan, plan.hub, tool, used)
    command = additions.command(host, [group] if having else [*devices, group])
    (script := tmp_path / "script").write_text(f"#!/bin/sh\n{command}\n")
    literal = "--exclude=SC2016"  # nothing is to be expanded in a file's lines
    done = subprocess.run(["shellcheck", literal, str(script)], capture_output=True, text=True, check=False)
    assert command
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing: apt-get install shellcheck")
def test_what_starts_a_rehearsal_is_clean(tmp_path: Path) -> None:
    """No script of a rehearsal has anything that shellcheck finds wrong."""
    wanted = {"nic": "ens3", "address": "10.1.0.5/24", "gateway": "10.1.0.1"}
    for name, text in {
        "room": daemons.ROOM,
        **{tool: one.start.format(**wanted) for tool, one in TOOLS.items()},
    }.items():
        (script := tmp_path / name).write_text(f"#!/bin/sh\n{text}")
        done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in place of a folder is one message."""
    (tmp_path / "gate").write_text("")
    assert main([*GIVEN, "-o", str(tmp_path)]) == 1
    assert f"cannot write {tmp_path}/gate" in capsys.readouterr().err


def cloud_rules(folder: Path, provider: str, tunnel: str) -> dict[str, object]:
    """The settings of the one resource that the cloud's file has."""
    hosts = ["--hub=10.1.0.4", "--spokes=10.1.0.5,10.1.0.6"]
    words = [*hosts, "--format=shell", f"--provider={provider}", f"--tunnel={tunnel}", "-o", str(folder)]
    assert main(["plan", *words]) == 0
    parsed = hcl2.loads((folder / terraform.FILE).read_text())
    (resource,) = parsed["resource"]
    ((_, named),) = resource.items()
    ((_, settings),) = named.items()
    return dict(settings)


@pytest.mark.parametrize(("tunnel", "port"), [("vxlan", "4789"), ("geneve", "6081")])
@pytest.mark.parametrize("provider", ["aws", "gcp", "oci", "azure"])
def test_the_clouds_rules_are_terraform(tmp_path: Path, provider: str, tunnel: str, port: str) -> None:
    """The cloud's rules accept the tunnels' UDP port only from the hosts of the overlay, and are valid HCL."""
    settings = cloud_rules(tmp_path, provider, tunnel)
    text = json.dumps(settings)

    assert port in text
    assert set(re.findall(r"10\.1\.0\.\d+/\d+", text)) == {"10.1.0.4/32", "10.1.0.5/32", "10.1.0.6/32"}
    assert "udp" in text.lower() or settings["protocol"] == '"17"'


@pytest.mark.parametrize("provider", ["aws", "gcp", "oci"])
def test_the_clouds_rules_name_gre_by_its_number(tmp_path: Path, provider: str) -> None:
    """GRE is IP protocol 47, which has no name in any cloud."""
    assert "47" in json.dumps(cloud_rules(tmp_path, provider, "gretap"))


@pytest.mark.parametrize("tool", ["netplan", "networkmanager"])
def test_a_tool_without_words_for_geneve_names_others(capsys: pytest.CaptureFixture[str], tool: str) -> None:
    """Where a tool cannot make a kind of tunnel, the message names the formats that can."""
    words = ["--hub=10.1.0.4", "--spokes=10.1.0.5", "--tunnel=geneve", f"--format={tool}"]
    assert main(["plan", *words]) == 2
    assert "does not support geneve tunnels: use --format=networkd or shell" in capsys.readouterr().err


def test_iptables_is_opened_by_a_command_for_each_host(tmp_path: Path) -> None:
    """With --firewall=iptables the README has the command that accepts what a host's peers send, and saves it."""
    assert main([*GIVEN, "--firewall=iptables", "-o", str(tmp_path)]) == 0
    written = (tmp_path / "README.md").read_text()
    accepted = "iptables -I INPUT -s 10.1.0.4 -p gre -j ACCEPT && iptables -I INPUT -i gretap1 -j ACCEPT"
    assert f"    {accepted} && netfilter-persistent save    # on web1\n" in written
    assert not list(tmp_path.rglob("*.nft"))


def test_firewalld_is_opened_by_a_policy_and_a_zone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each host's policy has the other ends of its tunnels, its zone the device; nft's file is left out."""
    assert main([*GIVEN, "--firewall=firewalld", "-o", str(tmp_path)]) == 0
    files = written(tmp_path)
    assert 'address="10.1.0.4"' in files["web1/etc/firewalld/policies/overlay-tunnels.xml"]
    assert '<interface name="gretap1"/>' in files["web1/etc/firewalld/zones/overlay.xml"]
    assert not any(path.endswith(".nft") for path in files)
    assert "firewall-cmd --reload" in files["README.md"]
    assert main([*GIVEN, "--format=cloud-init", "--firewall=firewalld", "-o", str(tmp_path)]) == 2
    assert "--firewall=firewalld requires a format with files for each host" in capsys.readouterr().err


def test_what_no_rule_opens_has_no_file(tmp_path: Path) -> None:
    """In Azure no rule opens GRE, so no file is written."""
    words = ["--hub=10.1.0.4", "--spokes=10.1.0.5", "--format=shell", "--provider=azure", "--tunnel=gretap"]
    assert main(["plan", *words, "-o", str(tmp_path)]) == 0
    assert (tmp_path / "README.md").exists()
    assert not (tmp_path / terraform.FILE).exists()


@pytest.mark.parametrize("hosts", [[], ["--spokes=10.1.0.5", "--hosts=a,b"]])
def test_hosts_are_given_in_one_way(capsys: pytest.CaptureFixture[str], hosts: list[str]) -> None:
    """Addresses, or live hosts to take them from: neither or both is one message."""
    assert main(["plan", *hosts, "--format=shell"]) == 2
    assert "expected --spokes=ADDRESS,... (with --hub=), or --hosts=" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--topology=two-hubs-prp"], "--spokes: expected 2 to 20 spokes for --topology=two-hubs-prp; found 1\n"),
        (["--nic=averyveryverylongname"], "--nic=averyveryverylongname: expected a device name of 1 to 15 characters"),
        (["--nic=a/b"], "--nic=a/b: expected a device name"),
    ],
)
def test_what_no_host_can_have_is_rejected(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, given: list[str], message: str
) -> None:
    """The message has the option as it was given: a list of addresses is no number of spokes."""
    words = ["--hub=10.1.0.4", "--spokes=10.1.0.6", "--format=shell", "-o", str(tmp_path), *given]
    assert main(["plan", *words]) == 2
    assert capsys.readouterr().err.startswith(f"overcast: {message}")


@pytest.mark.parametrize(
    ("shape", "made", "mtu"), [("bond", "type bond mode active-backup", 8962), ("prp", "type hsr slave1", 1494)]
)
def test_two_hubs_are_written(tmp_path: Path, shape: str, made: str, mtu: int) -> None:
    """Each spoke has a tunnel to either hub, and over both the device that uses them."""
    hosts = ["--hub=10.1.0.4,10.1.0.5", "--spokes=10.1.0.6,10.1.0.7", f"--topology=two-hubs-{shape}"]
    assert main(["plan", *hosts, "--format=shell", "-o", str(tmp_path)]) == 0

    script = (tmp_path / "spoke1" / "usr/local/sbin/overlay").read_text()
    assert "remote 10.1.0.4 local 10.1.0.6" in script
    assert "remote 10.1.0.5 local 10.1.0.6" in script
    assert made in script
    assert f"MTU of the overlay: {mtu}. " in (tmp_path / "README.md").read_text()


def test_a_design_for_labs_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """No files are written for a design that is there as a warning."""
    words = ["--hub=10.1.0.4,10.1.0.5", "--spokes=10.1.0.6,10.1.0.7", "--format=shell"]

    assert main(["plan", "--topology=two-hubs-stp", *words]) == 2

    assert (
        "--topology=two-hubs-stp is for labs, and for a run on live hosts (--provision): the loss"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--hub=10.1.0.4", "--format=shell"], "--hub: the two-hubs-prp topology expects 2 hubs; found 1"),
        (
            ["--hub=10.1.0.4,10.1.0.5", "--format=networkd"],
            "networkd does not support a two-hubs-prp overlay: use --format=",
        ),
        (
            ["--hub=10.1.0.4,10.1.0.5", "--format=netplan"],
            "netplan does not support a two-hubs-prp overlay: use --format=",
        ),
    ],
)
def test_what_two_hubs_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], given: list[str], message: str) -> None:
    """A number of hubs that does not fit, or a tool that has no words for a device, is one message."""
    assert main(["plan", "--spokes=10.1.0.6,10.1.0.7", "--topology=two-hubs-prp", *given]) == 2
    assert message in capsys.readouterr().err
