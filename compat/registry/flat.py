"""Claims of a flat registry, ``{"0.19.1": {"result": "pass", "static": true, …}}``.

Such an entry names no code, no wheel, no device and no test, so it is no evidence: it is kept
whole, shown as a claim, and nothing that decides anything reads it.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from compat.errors import UsageError
from value_steer.records.codec import parse_json
from value_steer.records.fields import shown
from value_steer.registry.model import Imported
from value_steer.registry.rows import public_version

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_BYTES = 1 << 20


def read(path: Path) -> tuple[Imported, ...]:
    """Every entry of a flat registry, as a claim.

    Raises:
        UsageError: The file is no flat registry; all problems are listed.
    """
    try:
        content = path.read_bytes()
        body = parse_json(content) if len(content) <= _LARGEST_BYTES else None
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read as JSON ({error})"
        raise UsageError(msg) from error
    if not isinstance(body, dict) or not body:
        msg = f"{path}: must be an object of at most {_LARGEST_BYTES >> 20} MiB, version by version"
        raise UsageError(msg)
    source = hashlib.sha256(content).hexdigest()
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    problems = [p for version, entry in body.items() for p in _problems(version, entry)]
    if problems:
        raise UsageError("\n".join(f"{path}: {problem}" for problem in problems))
    return tuple(_claim(version, entry, source, now) for version, entry in body.items())


def _problems(version: str, entry: object) -> list[str]:
    if public_version(version) is None:
        return [f"{shown(version)} is no version of vLLM"]
    if not isinstance(entry, dict) or not isinstance(entry.get("result"), str):
        return [f"{version}: must be an object with a text named result"]
    if not entry["result"]:
        return [f"{version}.result: must not be empty"]
    return [
        f"{version}.{key} = {entry[key]!r}: must be true or false"
        for key in ("static", "behavioral")
        if not isinstance(entry.get(key), bool | None)
    ]


def _claim(version: str, entry: dict[str, object], source: str, now: str) -> Imported:
    static, behavioural = entry.get("static"), entry.get("behavioral")
    return Imported(
        imported_at=now,
        vllm=str(public_version(version)),
        result=str(entry["result"]),
        static=static if isinstance(static, bool) else None,
        behavioural=behavioural if isinstance(behavioural, bool) else None,
        original=json.dumps({version: entry}, sort_keys=True, separators=(",", ":")),
        source_sha256=source,
    )
