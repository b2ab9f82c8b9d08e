"""What a rented machine is told, and what is believed of what it tells before it has a key."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from agents import projects
from deployments import signing
from deployments.models import Environment, Node
from deployments.services import agent_bundles, boots, environments, nodes, placements
from deployments.services.boots import UnreachableByNodes
from providers.models import ProviderAccount
from timeline import events

BY = {"operator": "tests"}
TOKEN_HEADER = "Bearer {}"


@pytest.fixture(autouse=True)
def _installation(db: None, settings: Settings, tmp_path: Path) -> None:
    settings.STATE_DIR = tmp_path
    settings.PUBLIC_URL, settings.REGISTRY_URL = "https://sam.example", "https://registry.example:5000"
    settings.CA_FILE = settings.REGISTRY_CA_FILE = None
    settings.PROVIDERS = {
        **settings.PROVIDERS,
        "qemu": {"class": "providers.qemu.QemuProvider", "options": {"directory": str(tmp_path / "qemu")}},
    }
    signing.init()


@pytest.fixture
def environment() -> Environment:
    project = projects.create(slug="shop")
    return environments.create(project=project, slug="production", gate_open=True, account="qemu", by=BY)


@pytest.fixture
def node(environment: Environment) -> Node:
    row = placements.ensure(environment.pk)
    Node.objects.filter(pk=row.pk).update(state="booting")
    row.refresh_from_db()
    return row


@pytest.fixture
def token(node: Node) -> str:
    with transaction.atomic():
        return str(nodes.enrolment(node)["token"])


def told(environment: Environment, node: Node) -> dict[str, str]:
    """The files of the node's user data."""
    with transaction.atomic():
        text = boots.user_data(environment=environment, node=node, enrolment=nodes.enrolment(node))
    return {each["path"]: each["content"] for each in yaml.safe_load(text)["write_files"]}


def line(phase: str, state: str, at: int, log_tail: str = "") -> dict[str, Any]:
    return {"at": at, "phase": phase, "state": state, "log_tail": log_tail}


@pytest.fixture
def tell(client: Client, token: str) -> Callable[..., int]:
    def tell(*reports: dict[str, Any], with_token: str = token, body: str | None = None) -> int:
        content = body if body is not None else json.dumps({"reports": list(reports)})
        answer = client.post(
            "/api/node/v1/boot",
            content,
            content_type="application/json",
            headers={"Authorization": TOKEN_HEADER.format(with_token)},
        )
        return answer.status_code

    return tell


class TestWhatItIsTold:
    def test_the_addresses_are_those_that_nodes_reach(self, environment: Environment, node: Node) -> None:
        settings_file = told(environment, node)["/var/lib/sam-boot/settings"]

        assert "CONTROL_URL=https://sam.example\n" in settings_file
        assert "REGISTRY_HOST=registry.example:5000\n" in settings_file
        assert f"NODE_ENVIRONMENT={environment.pk}\n" in settings_file

    def test_an_accounts_own_control_url_goes_first(self, environment: Environment, node: Node) -> None:
        options = {"directory": "x", "control_url": "https://inside.example"}
        ProviderAccount.objects.create(name="inside", slug="qemu", options=options, credentials=b"")
        node.account = "inside"

        assert "CONTROL_URL=https://inside.example\n" in told(environment, node)["/var/lib/sam-boot/settings"]

    def test_the_installations_authority_is_carried(
        self, environment: Environment, node: Node, settings: Settings, tmp_path: Path
    ) -> None:
        settings.CA_FILE = settings.REGISTRY_CA_FILE = tmp_path / "ca.pem"
        (tmp_path / "ca.pem").write_text("CERTIFICATE\n")

        files = told(environment, node)

        assert (
            files["/var/lib/sam-boot/control-ca.pem"] == files["/var/lib/sam-boot/registry-ca.pem"] == "CERTIFICATE\n"
        )
        assert json.loads(files["/var/lib/sam-boot/enrolment.json"])["ca"] == "CERTIFICATE\n"

    @pytest.mark.parametrize(
        ("name", "url"),
        [
            ("PUBLIC_URL", "http://127.0.0.1:8000"),
            ("PUBLIC_URL", "https://localhost"),
            ("REGISTRY_URL", "http://127.0.0.1:5000"),
            ("PUBLIC_URL", "http://sam.example"),
        ],
    )
    def test_a_node_that_could_not_call_home_is_not_paid_for(
        self, environment: Environment, node: Node, settings: Settings, name: str, url: str
    ) -> None:
        setattr(settings, name, url)

        with pytest.raises(UnreachableByNodes, match="SAM_PUBLIC_URL"):
            told(environment, node)

    def test_a_cloud_that_is_itself_on_loopback_is_only_warned_of_and_once(
        self, environment: Environment, node: Node, settings: Settings
    ) -> None:
        settings.PUBLIC_URL = "http://127.0.0.1:8000"
        options = {"directory": "x", "api_url": "http://127.0.0.1:9"}
        ProviderAccount.objects.create(name="stand-in", slug="qemu", options=options, credentials=b"")
        node.account = "stand-in"

        told(environment, node)
        told(environment, node)

        warnings = events.of_subject("node", node.pk).filter(kind="node:unreachable_address")
        assert [event.severity for event in warnings] == ["warning"]


class TestWhatItTells:
    def test_phases_are_kept_on_the_node_and_told_in_the_timeline(self, tell: Callable[..., int], node: Node) -> None:
        assert tell(line("network", "begin", 1000)) == 204
        assert tell(line("network", "end", 2000), line("packages", "begin", 2000)) == 204

        node.refresh_from_db()
        assert (node.boot["phase"], node.boot["state"]) == ("packages", "begin")
        assert node.boot["phases"]["network"] == {"state": "end", "at": 2000}
        assert "phase packages began" in boots.summary(node)
        kinds = [event.data["phase"] for event in events.of_subject("node", node.pk).filter(kind="node:boot")]
        assert kinds == ["network", "network", "packages"]

    def test_a_repetition_changes_nothing_and_what_is_late_does_not_turn_time_back(
        self, tell: Callable[..., int], node: Node
    ) -> None:
        tell(line("network", "end", 2000), line("packages", "begin", 2000))
        tell(line("network", "end", 2000), line("packages", "begin", 2000))
        tell(line("network", "begin", 1000))

        node.refresh_from_db()
        assert (node.boot["phase"], node.boot["phases"]["network"]["state"]) == ("packages", "end")
        assert events.of_subject("node", node.pk).filter(kind="node:boot").count() == 2

    def test_a_failure_comes_with_its_log_and_without_the_token(
        self, tell: Callable[..., int], node: Node, token: str
    ) -> None:
        assert tell(line("packages", "failed", 3000, f"no route to mirror\nsent {token}\0")) == 204

        node.refresh_from_db()
        assert "no route to mirror" in node.boot["log_tail"]
        assert token not in json.dumps(node.boot)
        event = events.of_subject("node", node.pk).get(kind="node:boot")
        assert (event.severity, token in json.dumps(event.data)) == ("error", False)

    def test_hardening_that_fails_is_a_warning(self, tell: Callable[..., int], node: Node) -> None:
        tell(line("metadata", "failed", 3000, "iptables: no"))

        assert events.of_subject("node", node.pk).get(kind="node:boot").severity == "warning"

    def test_nobody_without_the_token_of_an_awaited_node_is_heard(
        self, tell: Callable[..., int], client: Client, node: Node
    ) -> None:
        assert tell(line("network", "begin", 1), with_token="x" * 43) == 401
        assert client.post("/api/node/v1/boot", "{}", content_type="application/json").status_code == 401
        for changes in (
            {"state": "ready"},
            {"state": "booting", "enrolment_expires_at": None},
            {"enrolment_expires_at": timezone.now() - timedelta(seconds=1)},
            {"enrolment_expires_at": timezone.now() + timedelta(seconds=60), "quarantined_at": timezone.now()},
        ):
            Node.objects.filter(pk=node.pk).update(**changes)
            assert tell(line("network", "begin", 1)) == 401
        node.refresh_from_db()
        assert node.boot == {}

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ("{", 422),
            ('{"reports": []}', 422),
            ('{"reports": [{"at": 1, "phase": "other", "state": "begin"}]}', 422),
            ('{"reports": [{"at": 1, "phase": "agent", "state": "begin", "more": 1}]}', 422),
            ('{"reports": [{"at": "1", "phase": "agent", "state": "begin"}]}', 422),
            ("x" * 40_000, 413),
        ],
    )
    def test_what_is_no_report_is_refused(self, tell: Callable[..., int], body: str, status: int) -> None:
        assert tell(body=body) == status


class TestTheAgent:
    def test_it_is_given_to_awaited_machines_by_its_digest(self, client: Client, token: str) -> None:
        sha256 = agent_bundles.current().sha256
        path = f"/api/node/v1/agent/{sha256}.tar.gz"
        headers = {"Authorization": TOKEN_HEADER.format(token)}

        answer = client.get(path, headers=headers)

        assert hashlib.sha256(answer.content).hexdigest() == sha256
        assert client.get(path).status_code == 401
        assert client.get(path.replace(sha256, "0" * 64), headers=headers).status_code == 404

    def test_one_that_was_given_out_before_is_still_there(self, client: Client, token: str, tmp_path: Path) -> None:
        older = b"an older agent"
        sha256 = hashlib.sha256(older).hexdigest()
        (tmp_path / "agents").mkdir()
        (tmp_path / "agents" / f"{sha256}.tar.gz").write_bytes(older)

        answer = client.get(
            f"/api/node/v1/agent/{sha256}.tar.gz", headers={"Authorization": TOKEN_HEADER.format(token)}
        )

        assert answer.content == older

    def test_it_is_pure_python_without_anything_of_this_machine(self) -> None:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(agent_bundles.current().content))) as archive:
            names, members = archive.getnames(), archive.getmembers()

        assert {"nodeagent/__main__.py", "nodeagent/wire/envelope.py", "docker/__init__.py"} <= set(names)
        assert not [name for name in names if name.endswith((".so", ".pyc"))]
        assert {(member.uid, member.uname, member.mtime) for member in members} == {(0, "", 0)}

    def test_it_runs_without_the_control_planes_libraries(self, tmp_path: Path) -> None:
        """With PyNaCl and PyYAML as a distribution has them, and nothing else of this environment."""
        place = tmp_path / "agent"
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(agent_bundles.current().content))) as archive:
            archive.extractall(place, filter="data")
        check = (
            "import sys; sys.path.insert(0, sys.argv[1]);"
            "import docker, nodeagent.__main__;"
            "assert docker.__file__.startswith(sys.argv[1]), docker.__file__;"
            "print(nodeagent.__main__.main(['--version']))"
        )

        ran = subprocess.run(
            [sys.executable, "-c", check, str(place)], capture_output=True, text=True, timeout=60, cwd=tmp_path
        )

        assert ran.returncode == 0, ran.stderr
