"""Checks answers against a vendor's OpenAPI 3.0 description."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_ROOT = "urn:description"


class Description:
    """One description. `differs` lists what today's API does otherwise: {schema: members that
    are required there and gone}."""

    def __init__(self, path: Path, *, dropped: Mapping[str, list[str]]) -> None:
        raw = json.loads(path.read_text())
        for name, members in dropped.items():
            required = raw["components"]["schemas"][name]["required"]
            for member in members:
                required.remove(member)
        self._paths: list[tuple[re.Pattern[str], Any]] = [
            (re.compile(re.sub(r"\{[^}]+\}", "[^/]+", template)), operations)
            for template, operations in raw["paths"].items()
        ]
        schemas = _as_json_schema({"components": raw["components"]})
        self._registry: Registry[Any] = Registry().with_resource(_ROOT, DRAFT202012.create_resource(schemas))

    def faults(self, method: str, path: str, status: int, body: bytes) -> list[str]:
        """What is wrong with an answer, empty if nothing."""
        operation = self._operation(method, path)
        if operation is None:
            return [f"{method} {path} is not described"] if status < 400 else []
        responses = operation["responses"]
        response = responses.get(str(status)) or responses.get(f"{status // 100}xx")
        if response is None:
            return [f"{method} {path} never answers {status}"]
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            return ["a body where none is described"] if body else []
        validator = self._validator(json.dumps(schema))
        return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(json.loads(body))]

    def _operation(self, method: str, path: str) -> Any:
        for template, operations in self._paths:
            if template.fullmatch(path) and method.lower() in operations:
                return operations[method.lower()]
        return None

    @cache  # noqa: B019 - one description per test session
    def _validator(self, schema: str) -> Draft202012Validator:
        absolute = schema.replace('"#/', f'"{_ROOT}#/')
        return Draft202012Validator(_as_json_schema(json.loads(absolute)), registry=self._registry)


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0 says `nullable` where JSON Schema has a type of its own."""
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    converted = {name: _as_json_schema(value) for name, value in node.items() if name not in ("example", "nullable")}
    if node.get("nullable") is True:
        return {"anyOf": [{"type": "null"}, converted]}
    return converted
