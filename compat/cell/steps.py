"""Steps inside the isolation: preflight, contracts, the suite and its negative control."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compat.axes import DEFAULT
from compat.cell import host
from compat.cell.reports import CollectedTest, Facts, read_collected, read_facts
from compat.checkout import SUITE
from compat.errors import UsageError
from compat.isolate.protocol import NO_ENV, Mounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from compat.cell.target import RunTarget
    from compat.checkout import Product
    from compat.isolate.protocol import Box, Completed, Prepared


@dataclass(frozen=True)
class Bench:
    """An open isolation and where its results go.

    Attributes:
        box: Runs commands inside.
        out: The writable folder, as this machine sees it.
        environment: Variables of every command.
    """

    box: Box
    out: Path
    environment: Mapping[str, str] = field(default_factory=lambda: NO_ENV)


@contextlib.contextmanager
def opened(target: RunTarget, product: Product, prepared: Prepared) -> Iterator[Bench]:
    """An environment in which commands see the product, the suite and the host of a target."""
    mounts = Mounts(product.site, product.suite, target.out)
    with target.isolation.open(prepared, mounts) as box:
        chosen = host.environment(target.runner, target.lane, mounts, box)
        yield Bench(box, target.out, chosen | host.variables(target.options, target.gpus))


def collect(suite: Path, target: RunTarget) -> tuple[CollectedTest, ...]:
    """The tests that a run must contain, by collection on this machine.

    Raises:
        UsageError: The suite cannot be collected.
    """
    listing = target.out / "collected.json"
    told = {**host.kernels(target.lane), **host.variables(target.options, target.gpus)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        *_pytest_arguments(str(suite)),
        "--collect-only",
        "-q",
    ]
    done = subprocess.run(
        [*command, "--collected", str(listing)],
        cwd=suite,
        env={**os.environ, **told, "PYTHONPATH": str(suite)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        msg = f"the behavioural suite cannot be collected:\n{done.stdout[-3000:]}{done.stderr}"
        raise UsageError(msg)
    return read_collected(listing)


def preflight(bench: Bench, timeout: float) -> Facts | Completed:
    """The facts of what runs in the isolation, or the failed attempt to import it."""
    target = bench.out / "facts.json"
    done = bench.box.run(
        ["python", "-m", "compat.behaviour.facts", bench.box.inside(target)],
        log=bench.out / "preflight.log",
        timeout=timeout,
        env=bench.environment,
    )
    return read_facts(target) if done.returncode == 0 else done


def contracts(bench: Bench, runner: str, timeout: float) -> Completed:
    """Check the contracts against the vLLM of the isolation; its JSON is the log."""
    chosen = () if runner == DEFAULT else ("--runner", runner)
    return bench.box.run(
        ["python", "-m", "value_steer.compat_check", "all", *chosen, "--json"],
        log=bench.out / "contracts.json",
        timeout=timeout,
        env=bench.environment,
    )


def behaviour(bench: Bench, timeout: float, *, side_by_side: bool) -> Completed:
    """Run the behavioural suite, and those of its tests that a dead plug-in must fail against one.

    Their reports are ``suite.xml`` and ``control.xml``, their logs lie beside them.

    Args:
        bench: Where to run them.
        timeout: Seconds for both.
        side_by_side: Both at a time.
    """
    folder = bench.box.inside(bench.out)
    order = () if side_by_side else ("--in-turn",)
    return bench.box.run(
        ["python", "-m", "compat.behaviour.both", folder, *order, *_pytest_arguments(".")],
        log=bench.out / "behaviour.log",
        timeout=timeout,
        env=bench.environment,
    )


def suite(bench: Bench, name: str, timeout: float) -> Completed:
    """Run the behavioural suite alone; its report is ``NAME.xml``, its log lies beside it."""
    report = f"--junitxml={bench.box.inside(bench.out / f'{name}.xml')}"
    return bench.box.run(
        ["python", "-m", "pytest", *_pytest_arguments("."), report, "-o", "junit_family=xunit2"],
        log=bench.out / f"{name}.log",
        timeout=timeout,
        env=bench.environment,
    )


def _pytest_arguments(root: str) -> list[str]:
    folder = SUITE.as_posix()
    options = ["-c", f"{folder}/pytest.ini", "--rootdir", root, "-p", "no:cacheprovider", "-v"]
    return [folder, *options]
