"""The command line of the compatibility machine."""

from __future__ import annotations

import argparse
import signal
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from compat import booking, discover, pipeline, plan, record, report
from compat import policy as policies
from compat.errors import CompatError, ExitCode
from compat.evidence import Verdict
from compat.product import ROOT
from compat.progress import Progress
from value_steer import versions
from value_steer.contracts.wheel import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

REGISTRY = ROOT / "validated_versions.json"

_EXIT_CODES = {
    Verdict.PASSED: ExitCode.PASSED,
    Verdict.FAILED: ExitCode.FAILED,
    Verdict.TIMEOUT: ExitCode.TIMEOUT,
    Verdict.NO_EVIDENCE: ExitCode.NO_EVIDENCE,
}
_GRAVITY = (ExitCode.FAILED, ExitCode.TIMEOUT, ExitCode.NO_EVIDENCE, ExitCode.PASSED)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; what went wrong on purpose is printed, not traced."""
    arguments = _parser().parse_args(argv)
    progress = Progress()
    # A polite kill ends a run as Ctrl-C does: what was started is removed first. A shell starts
    # background jobs with Ctrl-C ignored, so that is set as well.
    for polite in (signal.SIGINT, signal.SIGTERM):
        signal.signal(polite, signal.default_int_handler)
    try:
        code: ExitCode = arguments.command(arguments, progress)
    except CompatError as error:
        progress.problem(str(error))
        code = error.exit_code
    except KeyboardInterrupt:
        progress.problem("interrupted; nothing was recorded, and the next run takes up the rest")
        code = ExitCode.INTERRUPTED
    return int(code)


def _run(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate one cell and record what was found."""
    out = arguments.out.resolve()
    order = pipeline.Order(arguments.version, arguments.isolation, out, arguments.runner)
    record.load(arguments.registry)  # a broken registry is noticed before an hour of work
    rows = booking.rows(pipeline.run(order, progress))
    record.append(arguments.registry, rows)
    progress.console.print(report.run_table(rows))
    for row in rows:
        if row.reason:
            progress.note(row.reason)
    progress.note(f"recorded in {arguments.registry}")
    # A failure outweighs missing evidence, which outweighs a pass.
    return min((_EXIT_CODES[row.verdict] for row in rows), key=_GRAVITY.index)


def _registry(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Validate the registry and show what it says of the code in this checkout."""
    rows = record.load(arguments.registry)
    digest = versions.engine_digest(ROOT / "value_steer")
    progress.console.print(report.registry_table(rows, digest))
    progress.note(f"{len(rows)} rows, all valid")
    return ExitCode.PASSED


def _discover(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Ask the package index for releases and write the candidates."""
    policy = policies.load()
    rules = discover.Rules(
        policy.oldest_vllm, timedelta(hours=policy.cooldown_hours), arguments.prereleases
    )
    found = discover.discover(rules)
    write_atomically(arguments.candidates, plan.dumps(found).encode())
    progress.note(f"{len(found)} releases in {arguments.candidates}, newest {found[-1].version}")
    return ExitCode.PASSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m compat", description=__doc__)
    parser.add_argument("--registry", type=Path, default=REGISTRY, help="file of the evidence")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="validate value-steer on one release of vLLM")
    run.add_argument("version", help="a series (0.28) or a release (0.28.0)")
    run.add_argument(
        "--isolation",
        choices=("auto", "container", "venv"),
        default="auto",
        help="where vLLM is installed; auto: a container if a Docker daemon answers",
    )
    run.add_argument(
        "--runner",
        choices=("default", "v1", "v2"),
        default="default",
        help="the model runner that vLLM is made to build; v2 on a CPU runs interpreted",
    )
    run.add_argument("--out", type=Path, default=Path("out"), help="folder for logs and reports")
    run.set_defaults(command=_run)
    registry = commands.add_parser("registry", help="validate and show the registry")
    registry.set_defaults(command=_registry)
    discovery = commands.add_parser("discover", help="list the releases on the package index")
    discovery.add_argument("--prereleases", action="store_true", help="pre-releases as well")
    discovery.add_argument("--candidates", type=Path, default=plan.CANDIDATES, help="file to write")
    discovery.set_defaults(command=_discover)
    return parser
