"""One run of the matrix, from a resolved target to everything that it found out.

build the wheel → isolate → preflight → contracts → suite → negative control → verdict. The first
step that fails decides the verdict. Nothing is written into the registry here, so a run that is
killed leaves it as it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compat import lanes
from compat.cell import reuse
from compat.cell.attempt import Attempt
from compat.errors import InfraError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from compat.cell.reports import Facts
    from compat.cell.services import Services
    from compat.cell.target import RunTarget
    from compat.cell.verdict import Judgement
    from compat.checkout import Product
    from compat.console import Progress
    from compat.isolate.protocol import Prepared
    from compat.releases.policy import Policy


@dataclass(frozen=True, slots=True)
class RunResult:
    """Everything that a run found out, whether or not it got to the end.

    Attributes:
        target: What was tested.
        product: The code that was tested.
        prepared: The environment, if it came to be.
        facts: What runs in it, if it could be imported.
        setup_sha256: Hash of what was asked for, see :func:`compat.cell.reuse.setup_digest`.
        judgements: One judgement per mode.
        seconds: Time from the first step to the last.
    """

    target: RunTarget
    product: Product
    prepared: Prepared | None
    facts: Facts | None
    setup_sha256: str
    judgements: Mapping[str, Judgement]
    seconds: float


def run(target: RunTarget, services: Services, progress: Progress) -> RunResult:
    """Run one cell.

    Raises:
        UsageError: The checkout cannot be built or its suite not collected.
        InfraError: The network, Docker or the disk failed; nothing is known about the version.
    """
    start = time.monotonic()
    target.out.mkdir(parents=True, exist_ok=True)
    for report in ("suite.xml", "control.xml", "facts.json"):
        (target.out / report).unlink(missing_ok=True)  # an earlier run's say nothing of this one
    progress.note(f"vLLM {target.vllm} on lane {target.lane}, results in {target.out}")
    with progress.step("build the wheel of this checkout", target.out / "build.log"):
        built = services.build(target.out, target.lane)
        expected = services.collect(built.suite, target)
    progress.note(f"isolation: {target.isolation.kind}, because {target.reason}")
    _require_space(target, services)
    attempt = Attempt(target, built, expected, services, progress)
    attempt.go()
    if target.discard and attempt.prepared is not None:
        try:
            target.isolation.discard(attempt.prepared)
        except InfraError as error:  # what the cell found is not lost for it
            progress.note(f"the environment stays: {error}")
    return RunResult(
        target=target,
        product=built,
        prepared=attempt.prepared,
        facts=attempt.facts,
        setup_sha256=reuse.setup_digest(target),
        judgements=attempt.judgements(),
        seconds=time.monotonic() - start,
    )


def space(out: Path, lane: str, services: Services) -> str:
    """The disk space that an environment of a lane needs, and the space there is."""
    needed, free = _needed_gib(lane, services.rules()), services.free_gib(out)
    return f"an environment may take {needed:.0f} GiB, {free:.1f} GiB are free below {out}"


def _needed_gib(lane: str, rules: Policy) -> float:
    return rules.free_disk_gib.cpu if lanes.parse(lane).is_cpu else rules.free_disk_gib.cuda


def _require_space(target: RunTarget, services: Services) -> None:
    needed, free = _needed_gib(target.lane, target.rules), services.free_gib(target.out)
    if free < needed:
        msg = (
            f"{free:.1f} GiB are free below {target.out}, an environment for lane {target.lane} "
            f"may take {needed:.0f} GiB; free some space (old environments lie in "
            f"{target.workspace})"
        )
        raise InfraError(msg)
