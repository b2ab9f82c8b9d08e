"""The two commands that need no server, as a shell runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deployments.domain import compose, manifest

ROOT = Path(__file__).parents[3]
GOOD = b'services:\n  web:\n    image: registry.example/app:1\n    ports: ["3000"]\n'
BAD = GOOD + b"    privileged: true\n"
DIGEST = "sha256:" + "0" * 64
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def run(*arguments: str, stdin: bytes = b"", cwd: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    # -S and -E would hide the packages; what is proven is that no settings are asked for: there are none in this env.
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        input=stdin, capture_output=True, cwd=cwd, env={"PATH": "/usr/bin:/bin"}, timeout=60, check=False,
    )  # fmt: skip


def said(done: subprocess.CompletedProcess[bytes]) -> Any:
    return json.loads(done.stdout)


def test_an_accepted_file_ends_with_0_and_a_refused_one_with_1(tmp_path: Path) -> None:
    for document, status in ((GOOD, 0), (BAD, 1)):
        file = tmp_path / "compose.yaml"
        file.write_bytes(document)
        assert run("compose_check", str(file)).returncode == status
        done = run("compose_check", str(file), "--json")
        assert done.returncode == status
        assert said(done)["ok"] is (status == 0)
        assert set(said(done)) == {"ok", "manifest", "problems", "warnings"}


def test_a_person_reads_place_cure_and_code() -> None:
    done = run("compose_check", "-", stdin=BAD)
    assert b"-:5:5: error: A privileged container owns the host." in done.stdout
    assert b"[compose.privileged]" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("compose_check",), ("compose_check", "a", "b"), ("compose_check", "-", "--nosuch"),
        ("compose_check", "--help"), ("compose_check", "--help"),
        ("compose_check", "/no/such/file"), ("render", "-"), ("render", "-", "--environment-id", "x"),
        ("render", "--environment-id", ID),
        ("render", "-", "--environment-id", ID, "--digests", "/no/such/file"),
    ],
)  # fmt: skip
def test_what_is_no_command_ends_with_2_and_says_how_it_is_written(arguments: tuple[str, ...]) -> None:
    done = run(*arguments, stdin=GOOD)
    assert done.returncode == 2
    assert done.stderr
    assert b"Traceback" not in done.stderr


def test_lines_of_json_are_answered_one_by_one_in_one_process() -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "compose_check", "--ndjson"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for identity, document in ((1, GOOD), ("two", BAD), (None, b"\xc3\xa9: [")):
            process.stdin.write(json.dumps({"id": identity, "yaml": document.decode()}).encode() + b"\n")
            process.stdin.flush()
            found = json.loads(process.stdout.readline())  # answered before the next one is asked
            assert found["id"] == identity
            assert found["ok"] is (document is GOOD)
            assert set(found) == {"id", "ok", "manifest", "problems", "warnings"}
    finally:
        process.stdin.close()
        process.stdout.close()
        assert process.wait(timeout=30) == 1


def test_compose_and_its_manifest_render_to_the_same_bytes(tmp_path: Path) -> None:
    digests = tmp_path / "digests.json"
    digests.write_text(json.dumps({"registry.example/app:1": DIGEST}))
    found = compose.parse(GOOD).manifest
    assert found is not None
    from_compose = run("render", "-", "--environment-id", ID, "--digests", str(digests), stdin=GOOD)
    from_manifest = run(
        "render", "-", f"--environment-id={ID}", "--digests", str(digests), stdin=manifest.canonical(found)
    )
    assert from_compose.returncode == from_manifest.returncode == 0, from_compose.stderr
    assert from_compose.stdout == from_manifest.stdout
    assert f'"sam.environment": "{ID}"'.encode() in from_compose.stdout


def test_a_tag_without_a_digest_is_unresolved() -> None:
    done = run("render", "-", "--environment-id", ID, stdin=GOOD)
    assert done.returncode == 1
    assert b"image.unresolved" in done.stderr
    assert done.stdout == b""


def test_neither_command_imports_django_or_pydantic() -> None:
    code = (
        "import sys; sys.argv = ['manage.py', 'compose_check', '-', '--json']; import manage; manage.main();"
        "names = {name.partition('.')[0] for name in sys.modules};"
        "print(sorted(names & {'django', 'pydantic', 'rest_framework', 'celery'}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=GOOD, capture_output=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.stderr == b"[]\n"
