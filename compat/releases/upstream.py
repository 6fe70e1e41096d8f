"""When each release appeared and what it changed in vLLM: ``matrix/upstream.json``.

Written with the static checks, for whoever shows the releases and must not ask the network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compat.errors import UsageError
from value_steer.records.codec import decode, encode, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable

UPSTREAM = Path(__file__).parents[2] / "matrix" / "upstream.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Upstream:
    """One release.

    Attributes:
        vllm: Public version, normalised.
        uploaded: When its wheel appeared, UTC to the second; ``None`` if the index does not say.
        runner_default: How it chooses its model runner: ``v1``, ``v2`` or the rule in words.
        changes: What it changed in the names that value-steer binds to, a line each.
    """

    vllm: str
    uploaded: str | None
    runner_default: str
    changes: tuple[str, ...]


def load(path: Path = UPSTREAM) -> tuple[Upstream, ...]:
    """The releases, oldest first.

    Raises:
        UsageError: The file is missing or malformed; all problems are listed.
    """
    try:
        body = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read as JSON ({error}); `nox -s static` writes it"
        raise UsageError(msg) from error
    expected = {"schema_version", "releases"}
    if (
        not isinstance(body, dict)
        or set(body) != expected
        or body["schema_version"] != SCHEMA_VERSION
        or not isinstance(body["releases"], list)
    ):
        msg = f"{path}: must be schema_version {SCHEMA_VERSION} and the list releases"
        raise UsageError(msg)
    problems: list[str] = []
    entries = enumerate(body["releases"])
    found = [decode(Upstream, entry, f"releases[{i}]", problems) for i, entry in entries]
    if problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    return tuple(release for release in found if release is not None)


def dumps(releases: Iterable[Upstream]) -> str:
    """The text that :func:`load` reads, the same for the same releases."""
    body = {"schema_version": SCHEMA_VERSION, "releases": [encode(r) for r in releases]}
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"
