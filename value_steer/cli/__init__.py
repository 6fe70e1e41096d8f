"""The ``value-steer`` command: from labels to a calibrated head, and what it is worth.

A subcommand is a module of this package, imported when it is run, so that help needs neither torch
nor anything else that is slow to load.
"""

from __future__ import annotations

import logging
import sys
from enum import IntEnum
from importlib import import_module
from typing import TYPE_CHECKING

from value_steer.cli.extras import advice
from value_steer.cli.one_line import one_line
from value_steer.cli.parser import build
from value_steer.cli.places import require
from value_steer.errors import CheckpointError, DataError, SettingsError, ValueSteerError
from value_steer.labels.errors import UnreadableError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from value_steer.cli.arguments.subcommand import Subcommand


class ExitCode(IntEnum):
    """Exit statuses of the command."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; what goes wrong on purpose is one line on stderr.

    Returns:
        0, 1 for a failure, 2 for an option or a file that cannot be used, 130 for Ctrl-C.
    """
    options = build().parse_args(argv)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("value_steer").setLevel(logging.INFO)
    try:
        _require(options.subcommand, options)
        code: int = import_module(f"value_steer.cli.{options.command}").run(options)
    except ModuleNotFoundError as error:
        return _failed(options.command, advice(error), ExitCode.FAILED)
    except UnreadableError as error:  # the judge's fault, not that of what was given
        return _failed(options.command, str(error), ExitCode.FAILED)
    except (SettingsError, DataError, CheckpointError) as error:
        return _failed(options.command, str(error), ExitCode.USAGE)
    except (ValueSteerError, OSError) as error:
        return _failed(options.command, str(error), ExitCode.FAILED)
    except KeyboardInterrupt:
        return _failed(options.command, "interrupted", ExitCode.INTERRUPTED)
    return code


def _require(subcommand: Subcommand, options: Namespace) -> None:
    """Refuse what is wrong before anything that takes long is imported or done."""
    for problem in subcommand.problems(options):
        raise SettingsError(problem)
    require(subcommand.places, options)


def _failed(command: str, reason: str, code: ExitCode) -> int:
    sys.stderr.write(f"value-steer {command}: {one_line(reason)}\n")
    return code
