"""One cell of the matrix, from a version's name to recorded evidence.

plan → build the wheel → isolate → preflight → contracts → suite → negative control → verdict →
record. The first step that fails decides the verdict. Nothing is written before the end, so a
run that is killed leaves the registry as it was.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compat import gpu, isolate, plan, policy, product, reuse, runners, steps
from compat.attempt import Attempt, Cell
from compat.errors import InfraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from compat.evidence import Facts
    from compat.isolate.protocol import Prepared
    from compat.policy import Policy
    from compat.product import Product
    from compat.progress import Progress
    from compat.verdict import Judgement

_GIB = 1 << 30


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Attributes:
        wanted: A series (``0.28``) or a release (``0.28.0``).
        isolation: ``container``, ``venv``, or ``auto`` for the best that is there.
        out: Folder for logs, reports and environments.
        runner: The model runner to make the host build, or ``default`` for its own choice.
        lane: The lane that this must be, or ``None`` for the one of this machine.
        discard: Whether the environment is removed at the end.
    """

    wanted: str
    isolation: Literal["auto", "container", "venv"]
    out: Path
    runner: Literal["default", "v1", "v2"] = "default"
    lane: str | None = None
    discard: bool = False


@dataclass(frozen=True)
class CellResult:
    """Everything that a run found out, whether or not it got to the end.

    Attributes:
        cell: What was tested.
        product: The code that was tested.
        prepared: The environment, if it came to be.
        facts: What runs in it, if it could be imported.
        isolation: ``container`` or ``venv``.
        setup_sha256: Hash of what was asked for, see :func:`compat.reuse.setup_digest`.
        judgements: One judgement per mode.
        seconds: Time from the first step to the last.
    """

    cell: Cell
    product: Product
    prepared: Prepared | None
    facts: Facts | None
    isolation: str
    setup_sha256: str
    judgements: Mapping[str, Judgement]
    seconds: float


def run(order: Order, progress: Progress) -> CellResult:
    """Run one cell.

    Raises:
        UsageError: The order cannot be carried out as it stands.
        InfraError: The network, Docker or the disk failed; nothing is known about the version.
    """
    start = time.monotonic()
    rules = policy.load()
    cell = cell_of(order)
    cell.out.mkdir(parents=True, exist_ok=True)
    for report in ("suite.xml", "control.xml", "facts.json"):
        (cell.out / report).unlink(missing_ok=True)  # an earlier run's are no evidence for this one
    progress.note(f"vLLM {cell.candidate.version} on lane {cell.lane}, results in {cell.out}")
    with progress.step("build the wheel of this checkout", cell.out / "build.log"):
        built = product.build(cell.out, cell.lane)
        expected = steps.collect(built.suite, cell.out, cell.lane)
    choice = choose(order, cell)
    progress.note(f"isolation: {choice.isolation.kind}, because {choice.reason}")
    _require_space(cell, rules)
    attempt = Attempt(cell, built, rules, expected, progress)
    attempt.go(choice.isolation)
    if order.discard and attempt.prepared is not None:
        try:
            choice.isolation.discard(attempt.prepared)
        except InfraError as error:  # what the cell has shown is not lost for it
            progress.note(f"the environment stays: {error}")
    return CellResult(
        cell=cell,
        product=built,
        prepared=attempt.prepared,
        facts=attempt.facts,
        isolation=choice.isolation.kind,
        setup_sha256=reuse.setup_digest(cell, choice.isolation.kind, rules),
        judgements=attempt.judgements(),
        seconds=time.monotonic() - start,
    )


def cell_of(order: Order) -> Cell:
    """The cell that is asked for.

    Raises:
        UsageError: There is no such release, or this machine is another lane.
    """
    lane = lane_of(order)
    candidate = plan.select(order.wanted, plan.load())
    return Cell(candidate, lane, order.runner, order.out / f"{candidate.version}-{lane}")


def choose(order: Order, cell: Cell) -> isolate.Choice:
    """The isolation in which a cell is tested.

    Raises:
        InfraError: Containers are asked for and no Docker daemon answers.
    """
    return isolate.choose(order.isolation, gpu=not cell.lane.startswith("cpu"))


def lane_of(order: Order) -> str:
    """The lane of this machine, which every machine with a GPU may leave for the CPU's."""
    wanted = order.lane
    device = "cpu" if wanted is not None and wanted.startswith("cpu") else gpu.lane()
    lane = runners.lane(device, order.runner)
    if wanted not in (None, lane):
        msg = f"this machine with runner {order.runner} is lane {lane}, not {wanted}"
        raise UsageError(msg)
    return lane


def space(out: Path, lane: str) -> str:
    """What the environments of a lane need, and what there is."""
    needed, free = _needed(lane, policy.load()), _free(out)
    return f"an environment may take {needed:.0f} GiB, {free:.1f} GiB are free below {out}"


def _needed(lane: str, rules: Policy) -> float:
    return rules.free_disk_gib.cpu if lane.startswith("cpu") else rules.free_disk_gib.cuda


def _free(out: Path) -> float:
    existing = next(path for path in (out, *out.parents) if path.exists())
    return shutil.disk_usage(existing).free / _GIB


def _require_space(cell: Cell, rules: Policy) -> None:
    needed, free = _needed(cell.lane, rules), _free(cell.out)
    if free < needed:
        msg = (
            f"{free:.1f} GiB are free below {cell.out}, an environment for lane {cell.lane} may "
            f"take {needed:.0f} GiB; free some space (old environments lie in {cell.out.parent})"
        )
        raise InfraError(msg)
