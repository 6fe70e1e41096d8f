"""From a name such as ``0.28`` to the vLLM build to test: the candidates and the selector."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from compat import lanes
from compat.errors import UsageError
from value_steer.records.fields import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA_VERSION = 1
CANDIDATES = Path(__file__).parents[2] / "matrix" / "candidates.json"


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
    """A release of vLLM that could be tested.

    Attributes:
        requires_python: What all of its builds require.
        torch: The version of torch that it pins.
        cuda: The CUDA version that this torch is built for, such as ``13.0``.
        builds: By lane.
    """

    version: Version
    requires_python: str
    torch: str
    cuda: str
    builds: tuple[Build, ...]

    @property
    def series(self) -> str:
        """The series a session is named for, such as ``0.28``."""
        return f"{self.version.major}.{self.version.minor}"

    def serves(self, lane: str) -> bool:
        """Whether there is a build for a lane."""
        return any(build.lane == lanes.family(lane) for build in self.builds)

    def build(self, lane: str) -> Build:
        """The build for a lane; ``cuda-sm90`` is served by the ``cuda`` build.

        Raises:
            UsageError: There is none.
        """
        family = lanes.family(lane)
        for build in self.builds:
            if build.lane == family:
                return build
        msg = f"vLLM {self.version} has no {family} build; run on another lane"
        raise UsageError(msg)


def load_candidates(path: Path = CANDIDATES) -> tuple[Candidate, ...]:
    """The candidates, oldest first.

    Raises:
        UsageError: The file is missing or malformed.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        (entries,) = _values(body, "candidates", schema_version=SCHEMA_VERSION)
        candidates = [_candidate(entry) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        msg = f"{path}: no usable list of candidates ({error!r}); restore it from the repository"
        raise UsageError(msg) from error
    return tuple(sorted(candidates, key=_by_version))


def dump_candidates(candidates: Iterable[Candidate]) -> str:
    """The text that :func:`load_candidates` reads, the same for the same candidates."""
    entries = [
        {**asdict(c), "version": str(c.version)} for c in sorted(candidates, key=_by_version)
    ]
    body = {"schema_version": SCHEMA_VERSION, "candidates": entries}
    return json.dumps(body, indent=2) + "\n"


def select_release(wanted: str, candidates: tuple[Candidate, ...]) -> Candidate:
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


def newest_with_build(candidates: tuple[Candidate, ...], lane: str) -> Candidate:
    """The newest release that has a build for a lane.

    Raises:
        UsageError: There is none.
    """
    built = [candidate for candidate in candidates if candidate.serves(lane)]
    if not built:
        msg = f"no candidate has a {lane} build; name a release"
        raise UsageError(msg)
    return built[-1]


def list_series(candidates: tuple[Candidate, ...]) -> tuple[str, ...]:
    """The series of all candidates, oldest first, each once."""
    return tuple(dict.fromkeys(candidate.series for candidate in candidates))


def _by_version(candidate: Candidate) -> Version:
    return candidate.version


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except ValueError as error:  # InvalidVersion is one, and so are more digits than Python reads
        msg = f"{shown(text)} is no version; write a series (0.28) or a release (0.28.0)"
        raise UsageError(msg) from error


def _candidate(entry: object) -> Candidate:
    version, python, torch, cuda, builds = _values(
        entry, "version", "requires_python", "torch", "cuda", "builds"
    )
    return Candidate(Version(version), python, torch, cuda, tuple(map(_build, builds)))


def _build(entry: object) -> Build:
    lane, distribution, wheels = _values(entry, "lane", "distribution", "wheels")
    return Build(lane, distribution, tuple(map(_wheel, wheels)))


def _wheel(entry: object) -> Wheel:
    filename, sha256 = _values(entry, "filename", "sha256")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        msg = f"{filename}: sha256 = {sha256!r} is no SHA-256"
        raise ValueError(msg)
    return Wheel(filename, sha256)


def _values(entry: object, *keys: str, **fixed: int) -> list[Any]:
    """The values of exactly these keys; text may not be empty."""
    if not isinstance(entry, dict) or set(entry) != {*keys, *fixed}:
        msg = f"needs exactly the keys {', '.join((*fixed, *keys))}: {str(entry)[:80]}"
        raise ValueError(msg)
    wrong = [key for key, value in fixed.items() if entry[key] != value]
    wrong += [key for key in keys if not entry[key] or not isinstance(entry[key], (str, list))]
    if wrong:
        msg = f"{wrong[0]} = {entry[wrong[0]]!r} is not usable"
        raise ValueError(msg)
    return [entry[key] for key in keys]
