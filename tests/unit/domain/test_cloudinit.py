"""User data of nodes: valid for cloud-init, small, the same for the same values, and with the token in files alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deployments.domain import cloudinit
from deployments.domain.cloudinit import DIRECTORY, Boot

CERTIFICATE = "-----BEGIN CERTIFICATE-----\n" + "MIIB" * 400 + "\n-----END CERTIFICATE-----\n"
BOOT = Boot(
    control_url="https://sam.example",
    token="one-time-token-0123456789abcdefghijklmnopqr",
    keyset="a2V5c2V0" * 100,
    agent_sha256="ab" * 32,
    registry_host="registry.example:5000",
    role="deployment",
    environment_id="9a1d4c1e-7b7f-4a39-8f57-2f1b0e6d7c8b",
)
BOOTSTRAP = Path(cloudinit.__file__).with_name("bootstrap.sh")


def needs(program: str) -> pytest.MarkDecorator:
    """In CI a missing program fails the test that needs it, by not being found."""
    return pytest.mark.skipif(
        shutil.which(program) is None and not os.environ.get("CI"),
        reason=f"{program} is not on this machine; scripts/install.sh --tests installs it",
    )


def files_of(text: str) -> dict[str, dict[str, str]]:
    return {each["path"]: each for each in yaml.safe_load(text)["write_files"]}


@needs("cloud-init")
@pytest.mark.parametrize("boot", [BOOT, replace(BOOT, ca=CERTIFICATE, registry_ca=CERTIFICATE)])
def test_cloud_init_itself_finds_no_fault_in_it(boot: Boot, tmp_path: Path) -> None:
    document = tmp_path / "user-data"
    document.write_text(cloudinit.user_data(boot))

    checked = subprocess.run(
        ["cloud-init", "schema", "--config-file", str(document)], capture_output=True, text=True, timeout=60
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs("shellcheck")
def test_shellcheck_finds_no_fault_in_the_bootstrap() -> None:
    checked = subprocess.run(["shellcheck", str(BOOTSTRAP)], capture_output=True, text=True, timeout=60)

    assert checked.returncode == 0, checked.stdout


def test_equal_values_give_equal_bytes_within_the_limit_of_every_cloud() -> None:
    boot = replace(BOOT, ca=CERTIFICATE, registry_ca=CERTIFICATE)

    assert cloudinit.user_data(boot) == cloudinit.user_data(boot)
    assert len(cloudinit.user_data(boot).encode()) < 32 * 1024


def test_what_is_too_long_is_refused_with_its_size_and_a_cure() -> None:
    with pytest.raises(cloudinit.UserDataTooLarge, match="SAM_CA_FILE") as refused:
        cloudinit.user_data(replace(BOOT, ca=CERTIFICATE * 20))

    assert refused.value.size_bytes > cloudinit.MAX_USER_DATA_BYTES


def test_the_files_arrive_as_they_were_meant() -> None:
    files = files_of(cloudinit.user_data(replace(BOOT, ca=CERTIFICATE, registry_ca=CERTIFICATE)))

    assert files[f"{DIRECTORY}/boot.sh"]["content"] == BOOTSTRAP.read_text()
    assert files[f"{DIRECTORY}/control-ca.pem"]["content"] == CERTIFICATE
    assert json.loads(files[f"{DIRECTORY}/enrolment.json"]["content"]) == {
        "control_url": BOOT.control_url,
        "token": BOOT.token,
        "keyset": BOOT.keyset,
        "ca": CERTIFICATE,
    }


def test_the_token_is_in_files_that_only_root_reads_and_in_no_argument() -> None:
    text = cloudinit.user_data(BOOT)
    holding = {path for path, file in files_of(text).items() if BOOT.token in file["content"]}

    assert holding == {f"{DIRECTORY}/authorization", f"{DIRECTORY}/enrolment.json"}
    assert {files_of(text)[path]["permissions"] for path in holding} == {"0600"}
    document = yaml.safe_load(text)
    assert BOOT.token not in json.dumps([document["bootcmd"], document["runcmd"]])
    assert BOOT.token not in repr(BOOT)


def test_without_own_authorities_none_is_carried() -> None:
    files = files_of(cloudinit.user_data(BOOT))

    assert not [path for path in files if path.endswith(".pem")]
    assert json.loads(files[f"{DIRECTORY}/enrolment.json"]["content"])["ca"] is None


@pytest.mark.parametrize("hostile", ["$(touch /tmp/x)", "a'b", 'a"b', "a b", "`id`"])
def test_values_are_quoted_for_the_shell(hostile: str, tmp_path: Path) -> None:
    settings = tmp_path / "settings"
    text = cloudinit.user_data(replace(BOOT, registry_host=hostile))
    settings.write_text(files_of(text)[f"{DIRECTORY}/settings"]["content"])

    said = subprocess.run(
        ["sh", "-euc", '. "$1"; printf %s "$REGISTRY_HOST"', "sh", str(settings)], capture_output=True, text=True
    )

    assert said.stdout == hostile


def test_the_phases_of_the_script_are_those_that_reports_may_name() -> None:
    named = next(line for line in BOOTSTRAP.read_text().splitlines() if line.startswith("PHASES="))

    assert tuple(named.partition("=")[2].strip('"').split()) == cloudinit.PHASES
