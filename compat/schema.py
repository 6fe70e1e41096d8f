"""The registry's JSON Schema (2020-12), applied before anything is written or believed."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

REGISTRY_SCHEMA = Path(__file__).parent.parent / "matrix" / "schema" / "registry.schema.json"

_LONGEST = 300


def violations(document: object) -> list[str]:
    """What in a registry violates the schema, each with its place, in order of place."""
    errors = sorted(_validator().iter_errors(document), key=_place)
    return [f"{_place(error)}: {error.message[:_LONGEST]}" for error in errors]


@functools.cache
def _validator() -> Draft202012Validator:
    schema = json.loads(REGISTRY_SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def _place(error: ValidationError) -> str:
    return error.json_path.removeprefix("$.")
