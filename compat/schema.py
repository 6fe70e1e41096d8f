"""JSON Schemas (2020-12) of the matrix, applied before anything is written or believed."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_FOLDER = Path(__file__).parent.parent / "matrix" / "schema"
REGISTRY_SCHEMA = _FOLDER / "registry.schema.json"
OVERRIDES_SCHEMA = _FOLDER / "overrides.schema.json"

_LONGEST = 300


def violations(document: object, schema: Path = REGISTRY_SCHEMA) -> list[str]:
    """The parts of a document that violate its schema, each with its place, in order of place."""
    errors = sorted(_validator(schema).iter_errors(document), key=_place)
    return [f"{_place(error)}: {error.message[:_LONGEST]}" for error in errors]


@functools.cache
def _validator(path: Path) -> Draft202012Validator:
    schema = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def _place(error: ValidationError) -> str:
    return error.json_path.removeprefix("$.")
