"""Reviewed decisions about single releases: ``matrix/overrides.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from compat import schema
from compat.errors import UsageError
from value_steer.registry.rows import public_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OVERRIDES = Path(__file__).parents[2] / "matrix" / "overrides.yaml"


class Action(str, Enum):
    """``include`` stands in for missing or old evidence; ``exclude`` outweighs any evidence."""

    INCLUDE = "include"
    EXCLUDE = "exclude"


@dataclass(frozen=True, slots=True)
class Override:
    """One decision.

    Attributes:
        vllm: Public version, normalised.
        expires: The last day on which it holds.
    """

    vllm: str
    action: Action
    reason: str
    reviewed_by: str
    expires: date


def load(path: Path = OVERRIDES) -> tuple[Override, ...]:
    """Read the decisions.

    Raises:
        UsageError: The file is missing, is not YAML, violates its schema, names a version that is
            not in its normal form, or decides on a release twice.
    """
    try:
        body = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)  # noqa: S506  (a safe one)
    # PyYAML makes numbers and dates that are none a ValueError, and depth a RecursionError.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        msg = f"{path}: cannot be read as YAML ({error})"
        raise UsageError(msg) from error
    problems = schema.violations(body, schema.OVERRIDES_SCHEMA)
    if problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    try:
        found = tuple(_override(entry) for entry in body["overrides"])
    except ValueError as error:
        msg = f"{path}: {error}"
        raise UsageError(msg) from error
    if len({override.vllm for override in found}) < len(found):
        msg = f"{path}: decides on a release twice"
        raise UsageError(msg)
    return found


def problems(overrides: Sequence[Override], today: date, longest_days: int) -> Iterator[str]:
    """The decisions that no longer hold, or claim to hold for too long.

    Args:
        overrides: What the file says.
        today: In UTC.
        longest_days: How many days ahead one may expire.
    """
    for override in overrides:
        name = f"override for vLLM {override.vllm} ({override.action.value})"
        if override.expires < today:
            yield f"{name} expired on {override.expires}; review it or remove it"
        if override.expires > today + timedelta(days=longest_days):
            yield f"{name} expires on {override.expires}, more than {longest_days} days ahead"


class _PlainLoader(yaml.SafeLoader):
    """Dates stay text, for the schema to judge."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _override(entry: dict[str, str]) -> Override:
    if public_version(entry["vllm"]) != entry["vllm"]:
        msg = f"vllm = {entry['vllm']!r}: must be a normalised public version"
        raise ValueError(msg)
    return Override(
        vllm=entry["vllm"],
        action=Action(entry["action"]),
        reason=entry["reason"],
        reviewed_by=entry["reviewed_by"],
        expires=date.fromisoformat(entry["expires"]),
    )
