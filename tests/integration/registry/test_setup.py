"""`manage.py registry_setup`: what a registry needs to start, made once."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command
from pytest_django import Settings

REALM = "http://127.0.0.1:8000/registry/token"


@pytest.fixture
def home(tmp_path: Path, settings: Settings) -> Path:
    settings.REGISTRY_TOKEN_KEY_FILE = tmp_path / "registry" / "token.key"
    settings.REGISTRY_TOKEN_CERT_FILE = tmp_path / "registry" / "token.crt"
    return tmp_path


def setup(home: Path, **options: Any) -> dict[str, Any]:
    told = io.StringIO()
    call_command("registry_setup", state_dir=home, port=5000, realm=REALM, json=True, stdout=told, **options)
    return json.loads(told.getvalue().splitlines()[-1])


def test_the_second_run_changes_nothing(home: Path) -> None:
    assert setup(home)["changed"]
    before = {path: path.read_bytes() for path in (home / "registry").iterdir() if path.is_file()}
    assert not setup(home)["changed"]
    assert {path: path.read_bytes() for path in (home / "registry").iterdir() if path.is_file()} == before


def test_every_file_is_the_owners_alone(home: Path) -> None:
    setup(home)
    for path in (home / "registry").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_another_realm_rewrites_the_configuration_and_keeps_the_key(home: Path) -> None:
    written = setup(home)
    key = Path(written["key"]).read_bytes()
    told = io.StringIO()
    call_command("registry_setup", state_dir=home, port=5000, realm="https://sam.example/registry/token", stdout=told)
    assert "written" in told.getvalue()
    assert Path(written["key"]).read_bytes() == key
    config = yaml.safe_load(Path(written["config"]).read_text())
    assert config["auth"]["token"]["realm"] == "https://sam.example/registry/token"
    assert config["auth"]["token"]["rootcertbundle"] == written["certificate"]


def test_plain_http_beyond_loopback_is_refused_with_the_cure(home: Path) -> None:
    with pytest.raises(CommandError, match="--tls-certificate"):
        setup(home, address="192.0.2.1")
    written = setup(home, address="192.0.2.1", tls_certificate=home / "tls.crt", tls_key=home / "tls.key")
    config = yaml.safe_load(Path(written["config"]).read_text())
    assert config["http"]["tls"]["key"] == str(home / "tls.key")


def test_a_key_that_cannot_be_read_is_never_replaced(home: Path) -> None:
    written = setup(home)
    key = Path(written["key"])
    key.write_text("not a key")
    with pytest.raises(CommandError, match=r"token\.key"):
        setup(home)
    assert key.read_text() == "not a key"
