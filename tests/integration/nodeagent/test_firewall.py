"""Containers are kept from the metadata service, on the real chain of a network namespace of the test's own."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import subprocess
from nodeagent import firewall
subprocess.run(["iptables", "-N", "DOCKER-USER"], check=True)
assert firewall.guard_metadata() and firewall.guard_metadata()
print(subprocess.run(["iptables", "-S", "DOCKER-USER"], check=True, capture_output=True, text=True).stdout)
"""


@pytest.mark.timeout(30)
def test_the_metadata_service_is_refused_to_containers_once_and_name_servers_are_not() -> None:
    said = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=25
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.split("\n")[1:4] == [
        "-A DOCKER-USER -d 169.254.0.0/16 -p udp -m udp --dport 53 -j RETURN",
        "-A DOCKER-USER -d 169.254.0.0/16 -p tcp -m tcp --dport 53 -j RETURN",
        "-A DOCKER-USER -d 169.254.0.0/16 -j REJECT --reject-with icmp-port-unreachable",
    ]


def test_a_machine_without_iptables_is_told_so_and_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nodeagent import firewall

    monkeypatch.setenv("PATH", "/nonexistent")
    assert not firewall.guard_metadata()
    assert "169.254.169.254" in caplog.text
