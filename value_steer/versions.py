"""Is the vLLM that runs one that value-steer is known to work on?

The answer is computed from the registry of the release; "validated" is stored nowhere.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from value_steer.errors import RegistryError, SettingsError, UnvalidatedError
from value_steer.registry import digests
from value_steer.registry.model import Cell, Verdict
from value_steer.registry.rows import Row, public_version, read_registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from value_steer.registry.model import StaticCheck

DIGEST_FILE = "engine_digest.txt"
"""In a wheel, beside the modules: their digest, which its build has computed."""
_DIGEST_LINE = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{64})")

ENVIRONMENT_VARIABLE = "VALUE_STEER_UNVALIDATED"
DECIDING = frozenset({Verdict.PASSED, Verdict.FAILED, Verdict.UNSUPPORTED, Verdict.WITHDRAWN})

_PACKAGE = Path(__file__).parent
_REGISTRY = "validated_versions.json"
_DECIDING_FILES = (
    "config.py",
    "engine_settings.py",
    "records/codec.py",
    "records/fields.py",
    "operating_point.py",
    "policy.py",
    "request_settings.py",
    "threshold.py",
    "threshold_changes.py",
    "traffic.py",
)
_DECIDING_FOLDERS = ("engine", "value_probe")

logger = logging.getLogger("value_steer")


class Standing(str, Enum):
    """The evidence about the vLLM that runs, in a word."""

    VALIDATED = "validated"
    VALIDATED_ELSEWHERE = "validated_elsewhere"
    STALE = "stale"
    CONTRACTS_ONLY = "contracts_only"
    KNOWN_BAD = "known_bad"
    UNKNOWN = "unknown"


class OnUnvalidated(str, Enum):
    """The reaction to a vLLM without evidence: values of ``VALUE_STEER_UNVALIDATED``."""

    WARN = "warn"
    ERROR = "error"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Assessment:
    """The standing of a cell, and one line that says so to the operator."""

    standing: Standing
    message: str


def registry_path() -> Path:
    """The registry in the installed package or, in a checkout, beside it.

    Raises:
        RegistryError: There is none.
    """
    for folder in (_PACKAGE, _PACKAGE.parent):
        if (folder / _REGISTRY).is_file():
            return folder / _REGISTRY
    msg = f"{_PACKAGE / _REGISTRY} is missing; reinstall value-steer"
    raise RegistryError(msg)


def engine_digest(package: Path = _PACKAGE) -> str:
    """Digest of the modules that decide how an engine is steered; comments and docstrings aside.

    Args:
        package: Folder of the package ``value_steer``, of a checkout or an unpacked wheel.

    Raises:
        RegistryError: The folder lacks one of them, or one is no Python.
    """
    files = _deciding(package)
    with contextlib.suppress(FileNotFoundError):  # a checkout has none
        known = _DIGEST_LINE.fullmatch((package / DIGEST_FILE).read_bytes())
        if known is not None and known[1].decode() == digests.of_bytes(files):
            return known[2].decode()
    return _of_code(files, package)


def digest_line(package: Path) -> str:
    """The text of :data:`DIGEST_FILE`: the digest of the bytes, and that of the code in them.

    To parse the modules takes a third of a second, to hash them a few milliseconds.

    Raises:
        RegistryError: As :func:`engine_digest`.
    """
    files = _deciding(package)
    return f"{digests.of_bytes(files)} {_of_code(files, package)}"


def _deciding(package: Path) -> dict[str, bytes]:
    paths = [package / name for name in _DECIDING_FILES]
    for folder in _DECIDING_FOLDERS:
        paths += sorted((package / folder).rglob("*.py")) or [package / folder]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        msg = f"no complete value_steer package: {', '.join(missing)} missing; reinstall it"
        raise RegistryError(msg)
    return {path.relative_to(package).as_posix(): path.read_bytes() for path in paths}


def _of_code(files: Mapping[str, bytes], package: Path) -> str:
    try:
        return digests.of_files(files)
    except ValueError as error:
        msg = f"{package}: {error}; reinstall value-steer"
        raise RegistryError(msg) from error


def decide(rows: Iterable[Row], cell: Cell) -> Row | None:
    """The row that holds for a cell: the newest with a verdict, but a withdrawal always.

    Of two rows of the same second, the one that did not pass holds.
    """
    rows = (row for row in rows if row.verdict in DECIDING and row.cell.includes(cell))
    return max(rows, key=_weight, default=None)


def current(rows: Sequence[Row]) -> dict[Cell, Row]:
    """The row that holds for each cell with a verdict, in order of first appearance."""
    cells = dict.fromkeys(row.cell for row in rows)
    holding = {cell: decide(rows, cell) for cell in cells}
    return {cell: row for cell, row in holding.items() if row is not None}


def kept(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows from which all that is asked of today follows, at most two for each cell.

    They are the one that holds and the newest, which may have come to no verdict. Others are
    history: whatever they say, one of these outweighs it.
    """
    cells: dict[Cell, list[Row]] = {}
    for row in rows:
        cells.setdefault(row.cell, []).append(row)
    found = [
        row for cell, own in cells.items() for row in (decide(own, cell), max(own, key=_newness))
    ]
    return tuple(dict.fromkeys(row for row in found if row is not None))


def assess(
    cell: Cell, rows: Sequence[Row], digest: str, static: Sequence[StaticCheck] = ()
) -> Assessment:
    """Judge a cell by the evidence.

    Args:
        cell: With a public version of vLLM.
        rows: The evidence of the registry.
        digest: :func:`engine_digest` of the code that runs.
        static: What the registry says of sources, for a cell without evidence.
    """
    name = f"vLLM {cell.vllm} on {cell.lane} (runner {cell.runner}, mode {cell.mode})"
    row = decide(rows, cell)
    if row is not None and row.verdict is not Verdict.PASSED:
        why = row.cause.value if row.cause else row.verdict.value
        details = f": {row.reason}" if row.reason else ""
        text = f"{name} is known not to work ({why}, {_day(row)}){details}; {_advice(cell)}"
        return Assessment(Standing.KNOWN_BAD, text)
    if row is not None and row.package.engine_digest == digest:
        return Assessment(Standing.VALIDATED, f"{name} is validated ({_day(row)})")
    if row is not None:
        text = f"{name} was validated ({_day(row)}) with other code of value-steer; {_advice(cell)}"
        return Assessment(Standing.STALE, text)
    elsewhere = _elsewhere(cell, rows, digest)
    if elsewhere:
        text = f"{name} is not validated, though it is on {elsewhere}; {_advice(cell)}"
        return Assessment(Standing.VALIDATED_ELSEWHERE, text)
    for check in static:
        if check.is_about(cell) and check.holds:
            text = f"{name} was never run, though all {check.checked} contracts hold in its source"
            return Assessment(Standing.CONTRACTS_ONLY, f"{text}; {_advice(cell)}")
    return Assessment(Standing.UNKNOWN, f"{name} was never tested; {_advice(cell)}")


def warn_unless_validated(
    vllm: str, lane: str, runner: str, mode: str, *, strict: bool = False
) -> Assessment | None:
    """Tell the operator how far the vLLM that runs can be trusted.

    Args:
        vllm: Its version; the build (``+cu129``) does not count.
        lane: Device class (``cpu``, ``cuda-sm90``).
        runner: Generation of the model runner (``v1``, ``v2``).
        mode: What value-steer does (``abstain``).
        strict: Demand evidence, whatever the environment variable says.

    Returns:
        The assessment, or ``None`` where the operator wants none.

    Raises:
        UnvalidatedError: There is no evidence, and the operator demands some.
        SettingsError: ``VALUE_STEER_UNVALIDATED`` has an unknown value.
        RegistryError: The registry is missing or malformed.
    """
    policy = OnUnvalidated.ERROR if strict else wanted()
    if policy is OnUnvalidated.IGNORE:
        return None
    cell = Cell(public_version(vllm) or vllm, lane, runner, mode)
    registry = read_registry(registry_path())
    assessment = assess(cell, registry.rows, engine_digest(), registry.static)
    if assessment.standing is Standing.VALIDATED:
        logger.info("%s", assessment.message)
    elif policy is OnUnvalidated.ERROR:
        raise UnvalidatedError(assessment.message)
    else:
        logger.warning("%s", assessment.message)
    return assessment


def check_environment() -> None:
    """Refuse a bad value of ``VALUE_STEER_UNVALIDATED`` before anything expensive begins.

    Raises:
        SettingsError: It is none of the known ones.
    """
    wanted()


def wanted() -> OnUnvalidated:
    """The reaction to a vLLM without evidence that the operator wants.

    Raises:
        SettingsError: ``VALUE_STEER_UNVALIDATED`` has an unknown value.
    """
    # Compose files pass a variable that nobody set as an empty one.
    value = os.environ.get(ENVIRONMENT_VARIABLE) or OnUnvalidated.WARN.value
    try:
        return OnUnvalidated(value)
    except ValueError as error:
        allowed = ", ".join(choice.value for choice in OnUnvalidated)
        msg = f"{ENVIRONMENT_VARIABLE} = {value!r}: must be one of {allowed}"
        raise SettingsError(msg) from error


def _elsewhere(cell: Cell, rows: Sequence[Row], digest: str) -> str:
    """Other lanes and runners on which this version and mode are validated, for a sentence."""
    return ", ".join(
        f"{other.lane} with runner {other.runner}"
        for other, row in current(rows).items()
        if (other.vllm, other.mode) == (cell.vllm, cell.mode)
        and row.verdict is Verdict.PASSED
        and row.package.engine_digest == digest
    )


def _weight(row: Row) -> tuple[bool, str, bool, str]:
    withdrawn = row.verdict is Verdict.WITHDRAWN
    return withdrawn, row.recorded_at, row.verdict is not Verdict.PASSED, row.record_id


def _newness(row: Row) -> tuple[str, bool, str]:
    return row.recorded_at, row.verdict not in DECIDING, row.record_id


def _advice(cell: Cell) -> str:
    if public_version(cell.vllm) is None:
        return "run a released vLLM"
    version = Version(cell.vllm)
    if version.is_devrelease:  # built from a checkout; no session is named for it
        return "run a released vLLM, or check the contracts of this one with `value-steer-compat`"
    series = f"{version.major}.{version.minor}"
    return f"`nox -s compat-{series}` in a checkout of value-steer settles it"


def _day(row: Row) -> str:
    return row.recorded_at[:10]
