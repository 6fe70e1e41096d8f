"""The cost of steering in an environment that a cell has left, by ``benchmarks.decode``."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compat import lanes
from compat.cell import steps
from compat.checkout import ROOT
from compat.errors import ReportError
from value_steer.records.codec import parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from compat.cell.pipeline import RunResult
    from compat.console import Progress

_SETTINGS = (
    *("--requests", "1", "16", "--rates", "0", "0.05", "--repetitions", "5", "--tokens", "200"),
    "--no-plot",
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How fast a steered engine is, as a ratio to plain vLLM; medians over the repetitions.

    Attributes:
        mode: ``abstain`` or ``vfd``.
        objections: Share of the draws that the head objects to.
        requests: How many ran at a time.
        processor: Of tokens per second of processor time.
        wall: Of tokens per second.
        synchronous: As ``wall``, to plain vLLM that schedules synchronously; ``None``: it does so
            anyway.
    """

    mode: str
    objections: float
    requests: int
    processor: float
    wall: float
    synchronous: float | None


def measure(result: RunResult, progress: Progress) -> tuple[Ratio, ...]:
    """Run the benchmark where a cell ran; the whole of its result lies beside the cell's reports.

    Raises:
        ReportError: Nothing runs there, or the benchmark came to no result.
    """
    target, prepared = result.target, result.prepared
    if prepared is None or result.facts is None:
        msg = "not measured, because vLLM could not be imported"
        raise ReportError(msg)
    # It is no part of the suite, whose digest has been taken.
    shutil.copytree(ROOT / "benchmarks", result.product.suite / "benchmarks", dirs_exist_ok=True)
    lane = lanes.parse(target.lane)
    flags = ["--asynchronous"] if lane.asynchronous else []
    if lane.asynchronous or not lane.is_cpu:
        flags.append("--both-baselines")
    log = target.out / "bench.log"
    report = target.out / f"decode-tiny{'-async' if lane.asynchronous else ''}.json"
    report.unlink(missing_ok=True)  # an earlier run's
    with (
        progress.step("measure against plain vLLM", log),
        steps.opened(target, result.product, prepared) as bench,
    ):
        folder = bench.box.inside(target.out)
        done = bench.box.run(
            ["python", "-m", "benchmarks.decode", "--out", folder, *_SETTINGS, *flags],
            log=log,
            timeout=target.rules.timeout_minutes.suite * 60,
            env=bench.environment,
        )
        if done.timed_out or done.returncode != 0:
            why = "no end" if done.timed_out else f"exit status {done.returncode}"
            msg = f"the benchmark: {why} after {done.seconds:.0f} s, see {log}"
            raise ReportError(msg)
        return _read(report)


def _read(report: Path) -> tuple[Ratio, ...]:
    try:
        body: Any = parse_json(report.read_bytes())
        return tuple(map(_ratio, body["results"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{report}: is no result of the benchmark ({error!r}); see bench.log beside it"
        raise ReportError(msg) from error


def _ratio(result: dict[str, Any]) -> Ratio:
    case, synchronous = result["case"], result["synchronous"]
    return Ratio(
        mode=str(case["mode"]),
        objections=float(case["objections"]),
        requests=int(case["requests"]),
        processor=round(float(result["ratio"]), 3),
        wall=round(float(result["wall"]), 3),
        synchronous=None if synchronous is None else round(float(synchronous["wall"]), 3),
    )
