"""`sam-node-agent`: verify to the letter, status and doctor without a secret, exit codes."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodeagent import condition
from nodeagent.__main__ import DONE, REFUSED, USAGE, main
from nodeagent.store import PAYLOAD_FILES, Store
from nodeagent.wire.fetch import Payload
from tests import signed
from tests.signed import ENVIRONMENT, NOW, OTHER_ENVIRONMENT, Offer, enrolled_store

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A node on which release 1 is current."""
    store = enrolled_store(tmp_path / "sam")
    store.write_release(ENVIRONMENT, 1, Offer().payload())
    store.raise_floor(
        ENVIRONMENT,
        1,
        str(Offer().stated(dict.fromkeys(("compose", "routes", "volumes", "sealed"), b""))["release_digest"]),
    )
    store.set_current(ENVIRONMENT, 1)
    return store


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: object) -> tuple[int, str, str]:
        try:
            status = main([str(each) for each in argv])
        except SystemExit as ending:
            status = int(ending.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def lay(directory: Path, payload: Payload, name: str = "envelope.json") -> Path:
    """The payload's files in a directory; the envelope's path."""
    directory.mkdir(parents=True, exist_ok=True)
    for part, (file, _) in PAYLOAD_FILES.items():
        (directory / (name if part == "envelope" else file)).write_bytes(getattr(payload, part))
    return directory / name


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


def test_verify_trusts_what_is_current_and_writes_nothing(store: Store, run: Run) -> None:
    before = snapshot(store.root)
    status, out, _ = run("verify", "--state-dir", store.root)
    assert status == DONE
    assert "trusted (boot)" in out
    for name in ("node_id", "environment_id", "seq", "compose_sha256", "compose.yaml"):
        assert name in out
    assert snapshot(store.root) == before


def test_verify_of_a_file_answers_in_json_with_every_field(store: Store, run: Run) -> None:
    file = store.release_path(ENVIRONMENT, 1) / "envelope.json"
    status, out, _ = run("verify", "--state-dir", store.root, "--accept", "--at", NOW, "--json", file)
    assert status == DONE
    answer = json.loads(out)
    assert (answer["ok"], answer["question"], answer["at"]) == (True, "acceptance", NOW)
    [found] = answer["files"]
    assert (found["file"], found["ok"], found["code"]) == (str(file), True, None)
    assert {field["name"] for field in found["fields"]} >= {"v", "seq", "generation", "issued_at", "expires_at"}


def test_acceptance_is_a_matter_of_time_and_boot_is_not(store: Store, run: Run) -> None:
    file = store.release_path(ENVIRONMENT, 1) / "envelope.json"
    status, out, _ = run("verify", "--state-dir", store.root, "--accept", "--at", NOW + 601, file)
    assert (status, "payload.expired" in out) == (REFUSED, True)
    assert run("verify", "--state-dir", store.root, "--accept", file)[0] == REFUSED
    assert run("verify", "--state-dir", store.root, file)[0] == DONE


def test_a_bare_directory_with_identity_keyset_and_floor_is_enough(store: Store, tmp_path: Path, run: Run) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(store.root / "identity", bare / "identity")
    for name in ("keyset.json", "floor.json"):
        shutil.copy(store.root / name, bare / name)
    file = lay(tmp_path / "anywhere", Offer(seq=2).payload(), "some.json")
    assert run("verify", "--state-dir", bare, "--accept", "--at", NOW, file)[0] == DONE
    assert not (bare / "environments").exists()


def test_the_environment_is_that_of_the_path_and_elsewhere_one_that_is_known(
    store: Store, tmp_path: Path, run: Run
) -> None:
    ours, other = Offer().payload(), Offer(environment_id=OTHER_ENVIRONMENT).payload()
    for file, code in (
        (lay(tmp_path / "environments" / OTHER_ENVIRONMENT / "releases" / "1", ours), "payload.environment"),
        (lay(tmp_path / "environments" / ENVIRONMENT / "releases" / "1", other), "payload.environment"),
        (lay(tmp_path / "elsewhere", other), "payload.environment"),
        (lay(tmp_path / "environments" / ENVIRONMENT / "releases" / "2", ours), "payload.other_sequence"),
        (store.root / "environments" / ENVIRONMENT / "current" / "envelope.json", None),
    ):
        _, out, _ = run("verify", "--state-dir", store.root, "--json", file)
        assert json.loads(out)["files"][0]["code"] == code, file


def test_many_paths_are_answered_line_by_line(
    store: Store, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = store.release_path(ENVIRONMENT, 1) / "envelope.json"
    bad = lay(tmp_path / "bad", Offer(signer=signed.STRANGER).payload())
    lines = [str(good), str(bad), str(tmp_path / "missing.json"), ""]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines)))
    status, out, _ = run("verify", "--state-dir", store.root, "--ndjson")
    assert status == REFUSED
    assert [json.loads(line) for line in out.splitlines()] == [
        {"file": str(good), "ok": True, "code": None},
        {"file": str(bad), "ok": False, "code": "envelope.unknown_key"},
        {"file": str(tmp_path / "missing.json"), "ok": False, "code": "file.missing"},
    ]


def test_a_line_is_answered_before_the_next_one_is_asked(store: Store) -> None:
    argv = [sys.executable, "-m", "nodeagent", "verify", "--state-dir", str(store.root), "--ndjson"]
    file = str(store.release_path(ENVIRONMENT, 1) / "envelope.json")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(file + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["ok"] is True
        process.stdin.close()
        assert process.wait(10) == DONE


@pytest.mark.parametrize("size", [262_145, 400_000])
def test_an_envelope_that_is_too_large_has_its_own_code(store: Store, tmp_path: Path, run: Run, size: int) -> None:
    payload = Offer().payload()
    file = lay(tmp_path / "x", Payload(payload.envelope.ljust(size), payload.compose, b"[]", b"[]", payload.sealed))
    _, out, _ = run("verify", "--state-dir", store.root, "--json", file)
    assert json.loads(out)["files"][0]["code"] == "envelope.size"


@pytest.mark.parametrize("name", ["compose.yaml", "routes.json", "volumes.json", "sealed.bin"])
def test_attachments_lie_beside_the_envelope(store: Store, run: Run, name: str) -> None:
    file = store.release_path(ENVIRONMENT, 1) / name
    for change, code in (
        (lambda: file.write_bytes(file.read_bytes() + b"\n"), f"payload.{name.partition('.')[0]}_digest"),
        (file.unlink, "file.missing"),
    ):
        change()
        status, out, _ = run("verify", "--state-dir", store.root, "--json", file.with_name("envelope.json"))
        assert (status, json.loads(out)["files"][0]["code"]) == (REFUSED, code)


def test_the_keyset_is_believed_as_it_lies_there(store: Store, run: Run) -> None:
    swapped = signed.keyset(keys=signed.ring(signed.STRANGER))
    (store.root / "keyset.json").write_text(json.dumps({
        "version": swapped.version, "keys": dict(swapped.keys), "root": {}, "revoked": [], "not_before": 0,
    }, indent=2))  # fmt: skip
    file = store.release_path(ENVIRONMENT, 1) / "envelope.json"
    _, out, _ = run("verify", "--state-dir", store.root, "--json", file)
    assert json.loads(out)["files"][0]["code"] == "envelope.unknown_key"
    lay(file.parent, Offer(signer=signed.STRANGER).payload())
    assert run("verify", "--state-dir", store.root, file)[0] == DONE


@pytest.mark.parametrize(
    "argv",
    [
        ("--at", "1"),
        ("--accept", "--at", "soon"),
        ("--json", "--ndjson"),
        ("--unknown",),
    ],
)
def test_wrong_usage_of_verify_ends_with_two(store: Store, run: Run, argv: tuple[str, ...]) -> None:
    assert run("verify", "--state-dir", store.root, *argv)[0] == USAGE


def test_a_state_directory_that_is_not_there_is_wrong_usage(tmp_path: Path, run: Run) -> None:
    assert run("verify", "--state-dir", tmp_path / "none")[0] == USAGE
    assert run()[0] == USAGE
    assert run("fly")[0] == USAGE


def test_a_directory_without_an_identity_trusts_nothing(store: Store, tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty").mkdir()
    file = store.release_path(ENVIRONMENT, 1) / "envelope.json"
    status, out, _ = run("verify", "--state-dir", tmp_path / "empty", "--json", file)
    assert (status, json.loads(out)["files"][0]["code"]) == (REFUSED, "state.missing")


def test_status_says_who_the_node_is_and_nothing_secret(store: Store, run: Run) -> None:
    status, out, _ = run("status", "--state-dir", store.root, "--json")
    found: dict[str, Any] = json.loads(out)
    assert status == DONE
    assert found["node_id"] == signed.NODE
    assert found["environments"][ENVIRONMENT]["current_sequence"] == 1
    for key in (signed.NODE_KEY, signed.BOX_KEY):
        assert signed.base64text.to_text(bytes(key)) not in out


def test_status_of_a_node_that_is_not_enrolled_says_what_it_waits_for(tmp_path: Path, run: Run) -> None:
    store = Store(tmp_path)
    store.prepare()
    status, out, _ = run("status", "--state-dir", tmp_path)
    assert (status, "enrolment.json" in out) == (REFUSED, True)


def test_the_doctor_names_the_cure_of_whatever_is_wrong(store: Store, run: Run) -> None:
    store.see_server_time(int(time.time()) + 5000)
    store.root.chmod(0o755)
    docker_host = f"unix://{store.root}/no.sock"
    status, out, _ = run("doctor", "--state-dir", store.root, "--json", "--docker-host", docker_host)
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert status == REFUSED
    assert checks.keys() == condition.CHECKS.keys()
    for name in ("state", "docker", "clock", "control plane"):
        assert checks[name]["result"] == "failed"
        assert checks[name]["cure"]


def test_an_enrolment_by_hand_takes_its_token_from_standard_input_only(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("T" * 43))
    status, _, err = run("enrol", "--state-dir", tmp_path, "--control-url", "http://127.0.0.1:1")
    assert (status, "--keyset" in err) == (USAGE, True)
    assert run("enrol", "--state-dir", tmp_path)[0] == USAGE


@pytest.mark.parametrize("name", ["compose.yaml", "envelope.json", "../../../../keyset.json", "../../../../floor.json"])
@pytest.mark.timeout(20)
def test_a_pipe_where_a_file_belongs_is_refused_and_not_waited_for(store: Store, run: Run, name: str) -> None:
    release = store.root / "environments" / ENVIRONMENT / "releases" / "1"
    (release / name).unlink()
    os.mkfifo(release / name)
    assert run("verify", "--state-dir", store.root)[0] == REFUSED
