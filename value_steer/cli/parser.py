"""What ``value-steer`` accepts: every subcommand with its options and examples."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from value_steer import __version__

# The only name that its type has.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


def build() -> argparse.ArgumentParser:
    """The parser; it imports nothing that a subcommand needs."""
    parser = argparse.ArgumentParser(
        prog="value-steer",
        description="From labels to a calibrated value head, and what it is worth.",
        epilog="Exit code: 0 done; 1 it failed; 2 wrong usage. COMMAND --help shows examples.",
    )
    parser.add_argument("--version", action="version", version=f"value-steer {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_calibrate(commands)
    _add_evaluate(commands)
    _add_doctor(commands)
    return parser


def _command(commands: Commands, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "".join(f"  {line}\n" for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_calibrate(commands: Commands) -> None:
    command = _command(
        commands,
        "calibrate",
        "choose thresholds on held-out responses and write them into a head's sidecar",
        """
value-steer calibrate trajectories.jsonl --head vhead.safetensors
value-steer calibrate trajectories.jsonl --head vhead.safetensors --alpha 0.01 --strict
""",
    )
    command.add_argument(
        "trajectories", type=Path, help="the head's values on responses of the unsteered model"
    )
    command.add_argument(
        "--head", type=Path, required=True, metavar="FILE", help="the head; its sidecar is replaced"
    )
    command.add_argument(
        "--alpha",
        type=float,
        default=0.05,
        help="the bound on acting on a good response whose threshold becomes the head's own "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--levels", type=float, nargs="+", metavar="ALPHA", help="all the bounds of its curve"
    )
    command.add_argument(
        "--confidence",
        type=float,
        help="let the bounds hold for this calibration set with that probability, instead of on "
        "average over sets",
    )
    command.add_argument(
        "--training-prompts",
        type=Path,
        metavar="FILE",
        help="the prompt ids that the head was trained on (default: the file beside the head)",
    )
    command.add_argument(
        "--min-tokens", type=int, default=1, help="first response token that abstention judges"
    )
    command.add_argument(
        "--patience", type=int, default=1, help="consecutive low tokens that end a response"
    )
    command.add_argument(
        "--seed", type=int, default=0, help="of the choice among several responses"
    )
    command.add_argument(
        "--strict", action="store_true", help="fail where a warning would be given"
    )


def _add_evaluate(commands: Commands) -> None:
    command = _command(
        commands,
        "evaluate",
        "compare stop rules and ways to decode, and write one report",
        """
value-steer evaluate --trajectories trajectories.jsonl --out report
value-steer evaluate --trajectories t.jsonl --columns baselines.jsonl --steps 1 20 100
value-steer evaluate --generations base.jsonl vfd.jsonl
""",
    )
    command.add_argument(
        "--trajectories",
        type=Path,
        metavar="FILE",
        help="values along responses of the unsteered model: abstention is replayed on them",
    )
    command.add_argument(
        "--columns",
        type=Path,
        metavar="FILE",
        help="self-assessments and confidences of the same responses, line for line",
    )
    command.add_argument(
        "--generations",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="judged responses of several ways to decode, to the same prompts",
    )
    command.add_argument("--base", default="base", help="name of the unsteered one (%(default)s)")
    command.add_argument(
        "--steps",
        type=int,
        nargs="+",
        default=[1, 20],
        metavar="TOKENS",
        help="where the fixed-step probes look (default: 1 20)",
    )
    command.add_argument(
        "--window", type=int, default=16, help="tokens of a confidence group (%(default)s)"
    )
    command.add_argument(
        "--min-tokens", type=int, default=1, help="first response token that is judged"
    )
    command.add_argument("--seed", type=int, default=0, help="of splits and resampling")
    command.add_argument(
        "--out",
        type=Path,
        default=Path("evaluation"),
        metavar="DIR",
        help="folder for report.html and report.json (default: %(default)s)",
    )


def _add_doctor(commands: Commands) -> None:
    command = _command(
        commands,
        "doctor",
        "say what is installed, what the evidence says of it, and whether a head fits",
        """
value-steer doctor
value-steer doctor --head vhead.safetensors --model ./my-model
""",
    )
    command.add_argument("--head", type=Path, metavar="FILE", help="a head to load")
    command.add_argument(
        "--model", type=Path, metavar="DIR", help="folder of the model that it must fit"
    )
