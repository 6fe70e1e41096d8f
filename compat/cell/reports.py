"""Files that the steps of a run write: the collected tests, the facts of the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compat.errors import ReportError
from value_steer.records.codec import decode, parse_json
from value_steer.registry.model import Depth  # noqa: TC001  (decode resolves annotations)

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_BYTES = 16 << 20
"""A larger file is refused: 16 MiB."""


@dataclass(frozen=True, slots=True)
class CollectedTest:
    """A test that a run must contain.

    Attributes:
        id: Node id, relative to the folder that holds ``compat/``.
        modes: The modes it is evidence for; none stands for each.
        depth: How deep it reaches.
        sentinel: Name under which a pass demands it.
        detects_dead: Whether it must fail against a plug-in that does nothing.
    """

    id: str
    modes: tuple[str, ...]
    depth: Depth
    sentinel: str | None
    detects_dead: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Versions and device of the environment, as seen from inside."""

    vllm: str
    distribution: str
    python: str
    torch: str
    lane: str
    device: str
    driver: str | None


def read_collected(path: Path) -> tuple[CollectedTest, ...]:
    """The tests that the suite's ``--collected`` option wrote.

    Raises:
        ReportError: The file is missing or malformed, or a test occurs twice.
    """
    body = _parsed(path)
    if not isinstance(body, list):
        msg = f"{path.name}: must be a list of tests; collect the suite again"
        raise ReportError(msg)
    problems: list[str] = []
    tests = [decode(CollectedTest, entry, f"[{i}]", problems) for i, entry in enumerate(body)]
    found = tuple(test for test in tests if test is not None)
    if len({test.id for test in found}) < len(found):
        problems.append("a test occurs twice")
    if problems:
        raise _refusal(path, problems)
    return found


def read_facts(path: Path) -> Facts:
    """Read the file that ``python -m compat.behaviour.facts`` wrote.

    Raises:
        ReportError: The file is missing or malformed.
    """
    problems: list[str] = []
    facts = decode(Facts, _parsed(path), "facts", problems)
    if facts is None:
        raise _refusal(path, problems)
    return facts


def _parsed(path: Path) -> object:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) <= LARGEST_BYTES:
            return parse_json(content)
    except FileNotFoundError as error:
        msg = f"{path.name}: was not written; see the log of its step"
        raise ReportError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path.name}: cannot be read as JSON ({error}); see the log of its step"
        raise ReportError(msg) from error
    msg = f"{path.name}: larger than {LARGEST_BYTES >> 20} MiB; see the log of its step"
    raise ReportError(msg)


def _refusal(path: Path, problems: list[str]) -> ReportError:
    return ReportError("\n".join(f"{path.name}: {problem}" for problem in problems))
