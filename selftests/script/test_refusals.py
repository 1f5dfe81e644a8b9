"""What the entry script cannot do is one line, with the command that corrects what was found."""

from __future__ import annotations

import os
import re
import shutil
import socketserver
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from selftests.script.conftest import IS_ROOT, Checkout


class TestRefusals:
    """An impossible set-up is reported in one line, with the fix."""

    def test_missing_python(self, fresh: Checkout) -> None:
        """Without an interpreter the message names the version that is needed and how to choose one."""
        refused = fresh.run(OVERCAST_PYTHON="/nowhere/python3")
        assert refused.status == 3
        assert re.search(r"3\.10 or newer.*'/nowhere/python3'.*OVERCAST_PYTHON=", "\n".join(refused.said))

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ("echo 3.9 yes /usr/bin/python3.9", "is Python 3.9"),
            ("exit 1", "does not run as a Python 3"),
            ("echo 3.99 no /usr/bin/python3.99", "no ensurepip; Debian's python3.99-venv has"),
        ],
    )
    def test_unfit_python(self, fresh: Checkout, tmp_path: Path, answer: str, message: str) -> None:
        """An interpreter that is too old, broken or incomplete is named with what is missing."""
        interpreter = tmp_path / "python3"
        interpreter.write_text(f"#!/bin/sh\n{answer}\n")
        interpreter.chmod(0o755)
        refused = fresh.run(OVERCAST_PYTHON=str(interpreter))
        assert refused.status == 3
        assert message in refused.said[-1]
        assert not fresh.stamp.parent.exists()

    @pytest.mark.parametrize("program", ["/bin/true", "/bin/echo"])
    def test_a_program_that_is_no_python(self, fresh: Checkout, program: str) -> None:
        """A program that takes any argument and ends with 0 is not a Python: nothing is installed for it."""
        refused = fresh.run(OVERCAST_PYTHON=program, OVERCAST_APT="")
        assert refused.status == 3
        assert refused.said == [
            (
                f"overcast: Python 3.10 or newer is needed, but '{program}' does not run as a Python 3; "
                "name another: OVERCAST_PYTHON=/path/to/python3"
            )
        ]
        assert not fresh.stamp.parent.exists()

    def test_a_python_of_no_package_gets_none(self, fresh: Checkout, tmp_path: Path) -> None:
        """For a Python that Debian did not install, no Debian package is suggested."""
        interpreter = tmp_path / "python3"
        interpreter.write_text("#!/bin/sh\necho 3.99 no /opt/python/bin/python3.99\n")
        interpreter.chmod(0o755)
        refused = fresh.run(OVERCAST_PYTHON=str(interpreter), OVERCAST_APT="")
        assert refused.status == 3
        assert "has no ensurepip; build /opt/python/bin/python3.99 with it, or name another" in refused.said[-1]
        assert "python3.99-venv" not in "".join(refused.said)

    @pytest.mark.skipif(not IS_ROOT, reason="needs root, who alone installs packages: sudo ./overcast test")
    @pytest.mark.parametrize(
        ("said", "advice"),
        [
            ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7", "another program installs"),
            ("E: dpkg was interrupted, you must manually run dpkg", "run: dpkg --configure -a && apt-get install "),
            ("E: You don't have enough free space in /var/cache/apt/archives/.", "free space on the disk"),
            ("E: Failed to fetch http://deb.example Temporary failure resolving 'deb.example'", "with a network, or"),
            ("E: Unable to locate package python3.99-venv", "the package sources of this system do not have it"),
            ("E: something else", "to see why, run: apt-get install python3.99-venv"),
        ],
    )
    def test_the_output_of_apt_decides_the_advice(
        self, fresh: Checkout, tmp_path: Path, said: str, advice: str
    ) -> None:
        """A package that is not installed for another reason than a missing network is not answered with one."""
        for name, answer in {
            "apt-get": f'echo "{said}"; exit 100',
            "python3": "echo 3.99 no /usr/bin/python3.99",
        }.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
            (tmp_path / name).chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        refused = fresh.run("doctor", OVERCAST_PYTHON=str(tmp_path / "python3"), OVERCAST_APT="", PATH=path)
        (line,) = [line for line in refused.said if "could not install" in line]
        assert said in line
        assert advice in line

    @pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl: apt-get install openssl")
    def test_a_certificate_that_is_not_trusted(self, fresh: Checkout, tmp_path: Path) -> None:
        """An index with its own certificate authority is not reported as a missing network; the fix names the CA."""
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as index:
            index.socket = context.wrap_socket(index.socket, server_side=True, do_handshake_on_connect=False)
            threading.Thread(target=index.serve_forever, daemon=True).start()
            url = f"https://127.0.0.1:{index.server_address[1]}/simple"
            fresh.lock.write_text(f"--index-url {url}\npytest==0 --hash=sha256:{'0' * 64}\n")
            refused = fresh.run()
            index.shutdown()
        assert refused.status == 3
        assert re.search(r"certificate that is not trusted here.*PIP_CERT=/path/to/ca.pem ./overcast", refused.said[-2])
        assert not any("is there a network" in line for line in refused.said)

    def test_missing_lock(self, fresh: Checkout) -> None:
        """Without the lock nothing is set up, and the message names the command that restores it."""
        fresh.lock.unlink()
        refused = fresh.run()
        assert (refused.status, len(refused.said)) == (3, 1)
        assert "git checkout requirements.lock" in refused.said[0]
