"""The classes that vLLM really instantiates where rows speak of a class they derive from."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from value_steer.contracts.lookup import FileMissingError, SymbolMissingError
from value_steer.contracts.needs import Calls, Compares, Contains, Order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from value_steer.contracts.lookup import Sources, Symbol
    from value_steer.contracts.surface import Surface

_WORKER = "vllm/v1/worker"
_SCHEDULER = "vllm/v1/core/sched"

DERIVED: Mapping[tuple[str, str], tuple[str, str]] = {
    (f"{_WORKER}/gpu_worker.py", "Worker"): (f"{_WORKER}/cpu_worker.py", "CPUWorker"),
    (f"{_WORKER}/gpu_model_runner.py", "GPUModelRunner"): (
        f"{_WORKER}/cpu_model_runner.py",
        "CPUModelRunner",
    ),
    (f"{_WORKER}/gpu/model_runner.py", "GPUModelRunner"): (
        f"{_WORKER}/cpu/model_runner.py",
        "CPUModelRunner",
    ),
    (f"{_SCHEDULER}/scheduler.py", "Scheduler"): (
        f"{_SCHEDULER}/async_scheduler.py",
        "AsyncScheduler",
    ),
}
"""Each file and class, with the one of it that a CPU or asynchronous scheduling makes."""

_OF_BODIES = (Calls, Compares, Contains, Order)


def problem(surface: Surface, base: Symbol, sources: Sources) -> str | None:
    """The problem of a row in the class that derives from its own; ``None``: it has none.

    Args:
        surface: The row, which its own class meets.
        base: What it was found to speak of.
        sources: The tree.
    """
    name, *members = surface.symbol.split(".")
    place = DERIVED.get((surface.path, name))
    if place is None:
        return None
    path, derived = place
    try:
        found = sources.find(path, ".".join([derived, *members]))
    except (FileMissingError, SymbolMissingError):  # rows of its own say which ones must be there
        return None
    if found.node is base.node or _goes_on(surface, found):
        return None
    wrong = surface.need.problem(found, sources)
    return wrong and f"{derived} in {path}: {wrong}"


def _goes_on(surface: Surface, found: Symbol) -> bool:
    """Whether a row is about what some code does, which a class adds to or a method calls."""
    if not isinstance(surface.need, _OF_BODIES):
        return False
    if found.as_class():
        return True
    replaced = f"super().{found.name}"
    calls = (node for node in ast.walk(found.node) if isinstance(node, ast.Call))
    return any(ast.unparse(call.func) == replaced for call in calls)
