"""The schemas agree with the parser: what they refuse by shape, it refuses; what it accepts, they accept."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from deployments.domain import compose, manifest, schemas
from deployments.domain.compose import loader, nodes
from deployments.domain.compose.findings import Findings
from tests.compose_documents import Case, cases, faulty_documents

CASES = list(cases())
SUBSET = jsonschema.Draft202012Validator(schemas.compose_subset())
MANIFEST = jsonschema.Draft202012Validator(schemas.manifest())


def values(document: bytes) -> Any:
    """The document as an editor sees it: YAML 1.2's core schema, floats included."""

    def of(node: Any) -> Any:
        kind = type(node)
        if kind is nodes.Mapping:
            return {child.key.value: of(child) for child in node.value}
        if kind is nodes.Sequence:
            return [of(child) for child in node.value]
        return float(node.value) if nodes.kind_of(node) == "float" else nodes.plain_value(node)

    return of(loader.read(document, Findings()).root)


def test_the_schemas_are_schemas() -> None:
    jsonschema.Draft202012Validator.check_schema(schemas.compose_subset())
    jsonschema.Draft202012Validator.check_schema(schemas.manifest())


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.row.decision != "rejected"], ids=lambda case: case.name
)
def test_what_the_parser_accepts_the_schema_accepts(case: Case) -> None:
    document = case.document(case.row.example)
    SUBSET.validate(values(document))
    parsed = compose.parse(document)
    assert parsed.manifest is not None
    MANIFEST.validate(json.loads(manifest.canonical(parsed.manifest)))


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.row.decision == "rejected"], ids=lambda case: case.name
)
def test_a_rejected_key_is_none_of_the_schema_s(case: Case) -> None:
    assert not SUBSET.is_valid(values(case.document(case.row.example)))


@settings(max_examples=150, deadline=None)
@given(faulty_documents())
def test_what_the_schema_refuses_the_parser_refuses(document: bytes) -> None:
    if not SUBSET.is_valid(values(document)):
        assert compose.parse(document).manifest is None
