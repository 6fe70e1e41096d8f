"""From a name such as ``0.28`` to the vLLM build to test: the candidates and the selector."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from compat.errors import UsageError

CANDIDATES = Path(__file__).parent.parent / "matrix" / "candidates.json"


@dataclass(frozen=True)
class Wheel:
    """A wheel by file name and SHA-256."""

    filename: str
    sha256: str


@dataclass(frozen=True)
class Build:
    """A distribution of vLLM for one family of devices."""

    lane: str
    distribution: str
    wheels: tuple[Wheel, ...]


@dataclass(frozen=True)
class Candidate:
    """A release of vLLM that could be tested."""

    version: Version
    requires_python: str
    torch: str
    builds: tuple[Build, ...]

    @property
    def series(self) -> str:
        """The series a session is named for, such as ``0.28``."""
        return f"{self.version.major}.{self.version.minor}"

    def build(self, lane: str) -> Build:
        """The build for a lane; ``cuda-sm90`` is served by the ``cuda`` build.

        Raises:
            UsageError: There is none.
        """
        family = lane.partition("-")[0]
        for build in self.builds:
            if build.lane == family:
                return build
        msg = f"vLLM {self.version} has no {family} build; run on another lane"
        raise UsageError(msg)


def load(path: Path = CANDIDATES) -> tuple[Candidate, ...]:
    """The candidates, oldest first.

    Raises:
        UsageError: The file is missing or malformed.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        candidates = [_candidate(entry) for entry in body["candidates"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path}: no usable list of candidates ({error!r}); restore it from the repository"
        raise UsageError(msg) from error
    return tuple(sorted(candidates, key=lambda candidate: candidate.version))


def select(wanted: str, candidates: tuple[Candidate, ...]) -> Candidate:
    """The newest release of a series (``0.28``), or the exact one (``0.28.0``, ``0.28.0.post1``).

    A pre-release stands for its series only as long as the series has nothing else.

    Raises:
        UsageError: No candidate matches.
    """
    exact = [c for c in candidates if c.version == _version(wanted)]
    of_series = [c for c in candidates if c.series == wanted]
    final = [c for c in of_series if not c.version.is_prerelease]
    matching = final or of_series or exact
    if not matching:
        known = ", ".join(str(candidate.version) for candidate in candidates)
        msg = f"vLLM {wanted} is not among the candidates ({known})"
        raise UsageError(msg)
    return matching[-1]


def series(candidates: tuple[Candidate, ...]) -> tuple[str, ...]:
    """The series of all candidates, oldest first, each once."""
    return tuple(dict.fromkeys(candidate.series for candidate in candidates))


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion as error:
        msg = f"{text!r} is no version; write a series (0.28) or a release (0.28.0)"
        raise UsageError(msg) from error


def _candidate(entry: dict[str, Any]) -> Candidate:
    return Candidate(
        version=Version(entry["version"]),
        requires_python=entry["requires_python"],
        torch=entry["torch"],
        builds=tuple(_build(build) for build in entry["builds"]),
    )


def _build(entry: dict[str, Any]) -> Build:
    wheels = tuple(Wheel(wheel["filename"], wheel["sha256"]) for wheel in entry["wheels"])
    return Build(entry["lane"], entry["distribution"], wheels)
