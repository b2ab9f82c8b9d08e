"""Whole commands and files as they leave the agent."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from nodeagent import commands
from nodeagent.faults import ApplyError
from nodeagent.overrides import Override, free_subnet


def test_compose_is_asked_to_create_and_nothing_else() -> None:
    argv = commands.compose_create(
        project="sam-0123456789ab",
        compose_file=Path("/var/lib/sam/environments/e/releases/2/compose.yaml"),
        override_file=Path("/private/node.yaml"),
        services=["web", "api"],
        scales={"web": 2, "api": 1, "db": 1},
    )
    assert argv == [
        *("docker", "compose", "--ansi", "never", "--progress", "quiet"),
        *("--project-name", "sam-0123456789ab", "--project-directory", "/private"),
        *("--env-file", "/dev/null"),
        *("--file", "/var/lib/sam/environments/e/releases/2/compose.yaml", "--file", "/private/node.yaml"),
        *("up", "--no-start", "--no-recreate", "--no-build", "--pull", "never"),
        *("--scale", "api=1", "--scale", "db=1", "--scale", "web=2"),
        *("api", "web"),
    ]


def test_compose_sees_the_sealed_values_and_nothing_of_the_agents_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_SECRET_0", "poison")
    monkeypatch.setenv("COMPOSE_FILE", "/etc/passwd")
    environment = commands.compose_environment(
        {"SAM_SECRET_0": "value"}, docker_host="unix:///run/docker.sock", home=Path("/private"), path="/usr/bin"
    )
    assert environment == {
        "SAM_SECRET_0": "value",
        "DOCKER_HOST": "unix:///run/docker.sock",
        "DOCKER_CONFIG": "/private",
        "HOME": "/private",
        "PATH": "/usr/bin",
    }


def test_the_nodes_own_file_replaces_ports_and_labels_them() -> None:
    override = Override({"web": {8080: 21001, 9090: 21002}}, "10.213.0.64/26", {"api": "api-r2", "web": "web-r2"})
    text = override.text().decode()
    assert text == (
        "services:\n"
        '  "api":\n'
        '    hostname: "api-r2"\n'
        '  "web":\n'
        '    hostname: "web-r2"\n'
        "    ports: !override\n"
        '      - {target: 8080, published: "21001", host_ip: "127.0.0.1", protocol: tcp}\n'
        '      - {target: 9090, published: "21002", host_ip: "127.0.0.1", protocol: tcp}\n'
        "    labels:\n"
        '      sam.ports: "8080:21001,9090:21002"\n'
        "networks:\n"
        "  default:\n"
        "    ipam:\n"
        '      config: !override [{subnet: "10.213.0.64/26"}]\n'
    )


def test_the_nodes_own_file_may_add_nothing() -> None:
    assert Override({}, None).text() == b"services: {}\n"


def test_a_subnet_overlaps_none_that_is_taken() -> None:
    taken = [ipaddress.ip_network("10.213.0.0/25"), ipaddress.ip_network("fd00::/64")]
    assert free_subnet(taken) == "10.213.0.128/26"


def test_no_free_subnet_is_said() -> None:
    with pytest.raises(ApplyError, match="All subnets"):
        free_subnet([ipaddress.ip_network("10.0.0.0/8")])
