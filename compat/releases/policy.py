"""Settings and demands of runs: ``matrix/policy.yaml`` as a frozen record."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from packaging.version import Version

from compat import lanes
from compat.axes import DEFAULT
from compat.errors import UsageError
from value_steer.records.codec import decode
from value_steer.records.fields import listed, shown
from value_steer.registry.model import Depth  # noqa: TC001  (decode looks up the types of fields)

Record = TypeVar("Record")

POLICY = Path(__file__).parents[2] / "matrix" / "policy.yaml"


@dataclass(frozen=True)
class Space:
    """Free disk space that an environment needs, in GiB."""

    cpu: float
    cuda: float


@dataclass(frozen=True)
class Minutes:
    """How long each step may take."""

    prepare: float
    preflight: float
    contracts: float
    suite: float
    control: float


@dataclass(frozen=True)
class CellKind:
    """A lane and a runner that the matrix covers, from a release of vLLM on."""

    lane: str
    runner: str
    since: str


@dataclass(frozen=True)
class Demands:
    """The evidence without which no release of vLLM is inside the extra.

    Attributes:
        depth: What a run must at least have reached.
        lanes: Patterns (``cuda-*``); each must be covered.
        modes: Each must be covered on each lane.
        provenance: Whose evidence counts.
        fresh_days: Age in days beyond which evidence opens no gate.
        override_days: How many days ahead an override may expire.
    """

    depth: Depth
    lanes: tuple[str, ...]
    modes: tuple[str, ...]
    provenance: tuple[str, ...]
    fresh_days: int
    override_days: int


@dataclass(frozen=True)
class Policy:
    """The whole policy; see the comments in the file."""

    oldest_vllm: Version
    cooldown_hours: float
    base_image: str
    debian_suite: str
    python: str
    extras: tuple[str, ...]
    free_disk_gib: Space
    timeout_minutes: Minutes
    cells: tuple[CellKind, ...]
    release: Demands


def load(path: Path = POLICY) -> Policy:
    """Read the policy.

    Raises:
        UsageError: The file is missing, is not YAML, or a key is unknown, missing or ill-typed.
    """
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    # PyYAML makes numbers and dates that are none a ValueError, and depth a RecursionError.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        msg = f"{path}: cannot be read as YAML ({error})"
        raise UsageError(msg) from error
    values = _exactly(Policy, body, str(path))
    cooldown = _number(values["cooldown_hours"], f"{path}: cooldown_hours")
    if not all(isinstance(values[key], str) for key in ("base_image", "debian_suite", "python")):
        msg = f"{path}: base_image, debian_suite and python must be text"
        raise UsageError(msg)
    extras = values["extras"]
    if not isinstance(extras, list) or not all(isinstance(extra, str) for extra in extras):
        msg = f"{path}: extras must be a list of requirements"
        raise UsageError(msg)
    return Policy(
        oldest_vllm=_version(values["oldest_vllm"], f"{path}: oldest_vllm"),
        cooldown_hours=cooldown,
        base_image=values["base_image"],
        debian_suite=values["debian_suite"],
        python=values["python"],
        extras=tuple(extras),
        free_disk_gib=Space(**_numbers(Space, values["free_disk_gib"], f"{path}: free_disk_gib")),
        timeout_minutes=Minutes(
            **_numbers(Minutes, values["timeout_minutes"], f"{path}: timeout_minutes")
        ),
        cells=_cells(values["cells"], path),
        release=_decoded(Demands, values["release"], f"{path}: release"),
    )


def _cells(body: object, path: Path) -> tuple[CellKind, ...]:
    entries = body if isinstance(body, list) else []
    kinds = [_decoded(CellKind, e, f"{path}: cells[{i}]") for i, e in enumerate(entries)]
    if not kinds or len({(kind.lane, kind.runner) for kind in kinds}) < len(kinds):
        msg = f"{path}: cells must list at least one lane and runner, and none of them twice"
        raise UsageError(msg)
    mixed = {k.lane for k in kinds if k.runner == DEFAULT}
    mixed &= {k.lane for k in kinds if k.runner != DEFAULT}
    if mixed:
        msg = f"{path}: cells: {mixed.pop()} has the runner default beside another; name them all"
        raise UsageError(msg)
    for i, kind in enumerate(kinds):
        _version(kind.since, f"{path}: cells[{i}].since")
        try:
            lanes.parse(kind.lane)
        except UsageError as error:
            msg = f"{path}: cells[{i}].lane: {error}"
            raise UsageError(msg) from error
    return tuple(kinds)


def _decoded(record: type[Record], body: object, where: str) -> Record:
    problems: list[str] = []
    decoded = decode(record, body, where, problems)
    if decoded is None:
        raise UsageError(listed(problems))
    return decoded


def _numbers(record: type, body: object, where: str) -> dict[str, float]:
    values = _exactly(record, body, where)
    return {key: _number(value, f"{where}.{key}") for key, value in values.items()}


def _number(value: object, where: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    number = float(str(value)) if is_number else math.nan
    if not math.isfinite(number) or number <= 0:
        msg = f"{where} = {value!r}: must be a positive number"
        raise UsageError(msg)
    return number


def _version(value: object, where: str) -> Version:
    try:
        return Version(str(value))
    except ValueError as error:  # InvalidVersion is one, and so are more digits than Python reads
        msg = f"{where} = {shown(value)}: must be a version such as 0.19.0"
        raise UsageError(msg) from error


def _exactly(record: type, body: object, where: str) -> dict[str, Any]:
    """The entries of a mapping with exactly the fields of ``record``."""
    expected = {field.name for field in dataclasses.fields(record)}
    found = set(body) if isinstance(body, dict) else set()
    if not isinstance(body, dict) or found != expected:
        missing = ", ".join(sorted(expected - found)) or "none"
        unknown = ", ".join(sorted(map(str, found - expected))) or "none"
        msg = f"{where}: missing keys: {missing}; unknown keys: {unknown}"
        raise UsageError(msg)
    return body
