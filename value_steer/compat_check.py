"""The ``value-steer-compat`` command: does this vLLM have what value-steer binds to?

It reads vLLM's source without importing it, so it needs neither torch nor a device.
"""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from typing import TYPE_CHECKING

from packaging.version import Version

from value_steer import versions
from value_steer.cli.arguments.types import PATH, TEXT, VERSION
from value_steer.cli.one_line import Parser, one_line
from value_steer.cli.places import FILES, FOLDER, require
from value_steer.contracts.checker import check
from value_steer.contracts.history import releases, story, text
from value_steer.contracts.sources.tree import directory_tree, installed_tree
from value_steer.contracts.surface import Mode, Runner
from value_steer.errors import ContractError, RegistryError, SettingsError
from value_steer.registry import explain, history
from value_steer.registry.rows import read_registry

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from value_steer.contracts.report import Finding, Report

_EVERY_MODE = "all"


class ExitCode(IntEnum):
    """Exit statuses of the command."""

    FINE = 0
    BROKEN = 1
    NOT_CHECKED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.source and options.against:
        parser.error("--source and --against exclude each other; --against takes a folder as well")
    if options.architecture and not _is_sweep(options):
        parser.error("--architecture needs releases: --vllm, --all, --since or --against")
    try:
        require({"--source": FOLDER, "--against": FILES}, options)
        if options.explain is not None:
            return _explain(options.explain)
        return _sweep(options) if _is_sweep(options) else _single(options)
    except (ContractError, RegistryError, SettingsError, OSError) as err:
        sys.stderr.write(f"value-steer-compat: {one_line(str(err))}\n")
        return ExitCode.NOT_CHECKED


def _single(options: argparse.Namespace) -> ExitCode:
    report = run(options.mode, options.source, _runners(options.runner))
    if options.json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    else:
        shown = report.findings if options.verbose else report.broken
        lines = [*map(_line, shown), _summary(report)]
        sys.stdout.write("\n".join(lines) + "\n")
    return ExitCode.FINE if report.ok else ExitCode.BROKEN


def _explain(version: str) -> ExitCode:
    vllm = Version(version).public
    path = versions.registry_path()
    registry = history.completed(read_registry(path), path)
    has_history = history.folder(path).is_dir()
    evidence = explain.lines(vllm, registry, versions.engine_digest(), is_whole=has_history)
    sys.stdout.write("\n".join((*evidence, *story.told(vllm))) + "\n")
    return ExitCode.FINE


def _is_sweep(options: argparse.Namespace) -> bool:
    return bool(options.all or options.vllm or options.since or options.against)


def _sweep(options: argparse.Namespace) -> ExitCode:
    found = releases.run(
        releases.Selection(
            exact=options.vllm,
            since=options.since or (releases.OLDEST if options.all else None),
            against=options.against,
            architectures=tuple(options.architecture or releases.Selection().architectures),
        ),
        _modes(options.mode),
        _runners(options.runner),
    )
    shown = [json.dumps(releases.to_json(found), indent=2)] if options.json else text.lines(found)
    sys.stdout.write("\n".join(shown) + "\n")
    if not found.ok:
        return ExitCode.BROKEN
    return ExitCode.NOT_CHECKED if found.unread else ExitCode.FINE


def run(selection: str, source: Path | None, runners: tuple[Runner, ...] = (*Runner,)) -> Report:
    """Check the installed vLLM, or the one under ``source``.

    Args:
        selection: A mode, or ``"all"`` for every mode of this release.
        source: A folder that contains ``vllm/``; ``None`` for the installed one.
        runners: The model runners to check.

    Raises:
        ContractError: Nothing can be checked: there is no vLLM.
    """
    modes = _modes(selection)
    return check(installed_tree() if source is None else directory_tree(source), modes, runners)


def _modes(selection: str) -> tuple[Mode, ...]:
    return tuple(Mode) if selection == _EVERY_MODE else (Mode(selection),)


def _runners(runner: str | None) -> tuple[Runner, ...]:
    return (*Runner,) if runner is None else (Runner(runner),)


def _parser() -> Parser:
    parser = Parser(
        prog="value-steer-compat",
        description="Check that vLLM has every name and shape that value-steer binds to.",
        epilog="Exit code: 0 all contracts of a model runner hold, in every release; 1 they do "
        "not; 2 nothing was checked (no vLLM found, wrong arguments), or not every release.",
    )
    parser.add_argument(
        "mode",
        nargs="?",
        default=_EVERY_MODE,
        choices=[_EVERY_MODE, *(mode.value for mode in Mode)],
        help="whose contracts to check (default: every mode of this release)",
    )
    parser.add_argument(
        "--runner",
        choices=[runner.value for runner in Runner],
        help="the model runner whose contracts to check (default: each of them)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    parser.add_argument("-v", "--verbose", action="store_true", help="list the good rows as well")
    _add_places(parser)
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--source",
        type=PATH,
        metavar="DIR",
        help="a folder that contains vllm/, instead of the installed one",
    )
    where.add_argument(
        "--vllm", type=VERSION, metavar="VERSION", help="a release, read from the index"
    )
    where.add_argument(
        "--explain",
        type=VERSION,
        metavar="VERSION",
        help="what the registry knows of a release",
    )
    where.add_argument("--all", action="store_true", help="every release that could be supported")
    where.add_argument("--since", type=VERSION, metavar="VERSION", help="all releases from it on")
    parser.add_argument(
        "--against",
        type=PATH,
        metavar="PATH",
        help="an unreleased vLLM (folder or tarball), compared with the release before it",
    )
    parser.add_argument(
        "--architecture",
        action="append",
        type=TEXT,
        metavar="CLASS",
        help="with releases: show the runner that vLLM builds by default for this model class",
    )


def _line(finding: Finding) -> str:
    surface = finding.surface
    place = f"{finding.status.value}: {surface.id}: {surface.path}, {surface.symbol}"
    problem = f": {finding.detail}" if finding.detail else ""
    return f"{place}{problem} [used by {surface.used_by}]"


def _summary(report: Report) -> str:
    verdict = "; ".join(_verdict(report, runner) for runner in report.runners)
    modes = " and ".join(mode.value for mode in report.modes)
    version = report.version or "of unknown version"
    return f"vLLM {version}, {modes}: {verdict} ({report.seconds:.2f} s)"


def _verdict(report: Report, runner: Runner) -> str:
    found = report.on(runner)
    broken = sum(not finding.ok for finding in found)
    verdict = f"{broken} of {len(found)} contracts do not hold"
    return f"{runner.value}: {verdict if broken else f'all {len(found)} contracts hold'}"


if __name__ == "__main__":
    raise SystemExit(main())
