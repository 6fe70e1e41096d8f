"""The history of evidence: rows that decide nothing any more, one per line, in a file per year.

It lies beside the registry of a checkout, in ``evidence/2026.jsonl`` and the like, and is not
shipped. Nothing that decides about an engine reads it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from value_steer.errors import RegistryError
from value_steer.records.codec import parse_json
from value_steer.records.fields import listed
from value_steer.records.files import read_at_most
from value_steer.registry.rows import LARGEST_BYTES, Registry, Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = "evidence"


def folder(registry: Path) -> Path:
    """Where the history of a registry lies."""
    return registry.parent / FOLDER


def read(registry: Path, vllm: str | None = None) -> tuple[Row, ...]:
    """The rows of the history of a registry, each once; none where there is no history.

    Args:
        registry: The file of the registry.
        vllm: Public version, normalised, of the only release that is asked for.

    Raises:
        RegistryError: A line is no row; all problems are listed, each with its file and line.
    """
    problems: list[str] = []
    files = sorted(folder(registry).glob("*.jsonl"))
    rows = [row for path in files for row in _rows(path, vllm, problems)]
    if problems:
        raise RegistryError(listed(problems))
    return tuple(dict.fromkeys(rows))


def completed(stored: Registry, path: Path) -> Registry:
    """A registry with the rows of its history, after its own; a row in both is one row."""
    return replace(stored, rows=tuple(dict.fromkeys((*stored.rows, *read(path)))))


def line(row: Row) -> str:
    """A row as a line of the history."""
    return json.dumps(row.to_json(), sort_keys=True, separators=(",", ":")) + "\n"


def _rows(path: Path, vllm: str | None, problems: list[str]) -> Iterator[Row]:
    try:
        lines = read_at_most(path, LARGEST_BYTES).split(b"\n")
    except (OSError, ValueError) as error:
        problems.append(f"{path}: cannot be read ({error})")
        return
    for number, text in enumerate(lines, start=1):
        if not text and number == len(lines):
            return  # what follows the last line's end
        at = f"{path}:{number}"
        try:
            body = parse_json(text)
            if vllm is None or _is_about(body, vllm):
                yield Row.from_json(body, at)
        except RegistryError as error:
            problems.append(str(error))
        except ValueError as error:
            problems.append(f"{at}: is no whole row ({error}); restore it from the repository")


def _is_about(body: object, vllm: str) -> bool:
    """Whether a line may be a row of a release; what is no row is to be noticed as well."""
    cell = body.get("cell") if isinstance(body, dict) else None
    return not isinstance(cell, dict) or cell.get("vllm", vllm) == vllm
