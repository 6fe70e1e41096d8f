"""The ``value-steer-compat`` command: does this vLLM have what value-steer binds to?

It reads vLLM's source without importing it, so it needs neither torch nor a device.
"""

from __future__ import annotations

import argparse
import json
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.contracts.checker import check
from value_steer.contracts.source import directory_tree, installed_tree
from value_steer.contracts.surface import Mode
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.contracts.report import Finding, Report

_EVERY_MODE = "all"


class ExitCode(IntEnum):
    """What the command says to the shell."""

    FINE = 0
    BROKEN = 1
    NOT_CHECKED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(argv)
    try:
        report = run(options.mode, options.source)
    except ContractError as err:
        sys.stderr.write(f"value-steer-compat: {err}\n")
        return ExitCode.NOT_CHECKED
    if options.json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        shown = report.findings if options.verbose else report.broken
        lines = [*map(_line, shown), _summary(report)]
        sys.stdout.write("\n".join(lines) + "\n")
    return ExitCode.FINE if report.ok else ExitCode.BROKEN


def run(selection: str, source: Path | None) -> Report:
    """Check the installed vLLM, or the one under ``source``.

    Args:
        selection: A mode, or ``"all"`` for every mode of this release.
        source: A folder that contains ``vllm/``; ``None`` for the installed one.

    Raises:
        ContractError: Nothing can be checked: there is no vLLM.
    """
    modes = tuple(Mode) if selection == _EVERY_MODE else (Mode(selection),)
    return check(installed_tree() if source is None else directory_tree(source), modes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="value-steer-compat",
        description="Check that vLLM has every name and shape that value-steer binds to.",
        epilog="Exit code: 0 all contracts hold; 1 some are broken; 2 nothing was checked (no vLLM "
        "found, wrong arguments).",
    )
    parser.add_argument(
        "mode",
        nargs="?",
        default=_EVERY_MODE,
        choices=[_EVERY_MODE, *(mode.value for mode in Mode)],
        help="whose contracts to check (default: every mode of this release)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("-v", "--verbose", action="store_true", help="list the good rows as well")
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="a folder that contains vllm/, instead of the installed one",
    )
    return parser


def _line(finding: Finding) -> str:
    surface = finding.surface
    place = f"{finding.status.value}: {surface.id}: {surface.path}, {surface.symbol}"
    problem = f": {finding.detail}" if finding.detail else ""
    return f"{place}{problem} [used by {surface.used_by}]"


def _summary(report: Report) -> str:
    total = len(report.findings)
    verdict = f"all {total} contracts hold"
    if not report.ok:
        verdict = f"{len(report.broken)} of {total} contracts do not hold"
    modes = " and ".join(mode.value for mode in report.modes)
    version = report.version or "of unknown version"
    return f"vLLM {version}, {modes}: {verdict} ({report.seconds:.2f} s)"


if __name__ == "__main__":
    raise SystemExit(main())
