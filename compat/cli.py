"""The command line of the compatibility machine: a menu of ``compat.commands``."""

from __future__ import annotations

import signal
from functools import cache
from typing import TYPE_CHECKING

from compat.cell.services import Services
from compat.checkout import ROOT
from compat.commands import (
    bisect,
    flakes,
    gpu,
    jobs,
    registry,
    release,
    releases,
    report,
    run,
    sweep,
)
from compat.console import Progress
from compat.errors import CompatError, ExitCode
from value_steer.cli.arguments.types import PATH
from value_steer.cli.one_line import Parser, one_line
from value_steer.cli.places import OWN_FILE, require
from value_steer.errors import SettingsError, ValueSteerError

if TYPE_CHECKING:
    from collections.abc import Sequence

REGISTRY = ROOT / "validated_versions.json"
_COMMANDS = (run, sweep, releases, jobs, registry, release, report, bisect, gpu, flakes)


def main(argv: Sequence[str] | None = None, services: Services | None = None) -> int:
    """Run a command; what went wrong on purpose is printed, not traced."""
    arguments = build_parser().parse_args(argv)
    arguments.services = services or Services()
    progress = Progress()
    # SIGTERM ends a run as Ctrl-C does: what was started is removed first. A shell starts
    # background jobs with Ctrl-C ignored, so that is set as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        require({"--registry": OWN_FILE, **arguments.places}, arguments)
        code: ExitCode = arguments.command(arguments, progress)
    except CompatError as error:
        progress.problem(one_line(str(error)))
        code = error.exit_code
    except SettingsError as error:
        progress.problem(one_line(str(error)))
        code = ExitCode.USAGE
    except (ValueSteerError, OSError) as error:
        progress.problem(one_line(str(error)))
        code = ExitCode.INFRA
    except KeyboardInterrupt:
        progress.problem("interrupted; only what had ended is recorded, the next run does the rest")
        code = ExitCode.INTERRUPTED
    return int(code)


@cache
def build_parser() -> Parser:
    """The menu of commands."""
    parser = Parser(prog="python -m compat", description=__doc__)
    parser.add_argument("--registry", type=PATH, default=REGISTRY, help="file of the evidence")
    parser.set_defaults(places={})
    menu = parser.add_subparsers(required=True, metavar="COMMAND")
    for commands in _COMMANDS:
        commands.add(menu)
    return parser
