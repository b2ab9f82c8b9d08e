"""Golden files: what a reader can browse. One folder per key, the schemas, and the pages that are written from rows.

`make golden` writes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from deployments.domain import compose, manifest, reference, renderer, schemas
from tests import corpus
from tests.compose_documents import Case, cases

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "compose"
CASES = list(cases())
DIGEST = "sha256:" + "0" * 64
ENVIRONMENT_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def kept(file: Path, content: bytes) -> None:
    """Compare with the file, or write it where SAM_WRITE_GOLDEN asks for that."""
    if os.environ.get("SAM_WRITE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    assert file.read_bytes() == content, f"{file} says something else; `make golden` writes it anew"


def pretty(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_files_of_each_key(case: Case) -> None:
    folder = GOLDEN / case.name
    for name, snippet in (("accepted", case.row.example), ("refused", case.row.refused)):
        if not snippet:
            continue
        if name == "accepted" and case.row.decision == "rejected":
            name = "refused"
        document = case.document(snippet)
        parsed = compose.parse(document)
        kept(folder / f"{name}.yaml", document)
        kept(
            folder / f"{name}.problems.json", pretty([each.as_json() for each in (*parsed.problems, *parsed.warnings)])
        )
        if parsed.manifest is not None:
            pinned = manifest.pin(parsed.manifest, dict.fromkeys(manifest.images(parsed.manifest).values(), DIGEST))
            kept(folder / f"{name}.manifest.json", pretty(manifest.to_json(parsed.manifest)))
            kept(folder / f"{name}.rendered.yaml", renderer.render(pinned, environment_id=ENVIRONMENT_ID, sequence=1))


def test_golden_pages_say_what_the_rows_say() -> None:
    kept(ROOT / "docs" / "compose.md", reference.compose_page().encode())


def test_golden_schemas_are_those_of_the_rows() -> None:
    kept(ROOT / "docs" / "schemas" / "compose.json", pretty(schemas.compose_subset()))
    kept(ROOT / "docs" / "schemas" / "manifest.json", pretty(schemas.manifest()))


def test_golden_page_of_real_files_says_what_comes_of_each() -> None:
    files = corpus.directory()
    if files is None:
        pytest.skip("the real files are not here (SAM_TEST_DATA)")
    kept(ROOT / "docs" / "compose-corpus.md", corpus.page(files).encode())
