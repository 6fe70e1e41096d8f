"""A subcommand, as the parser sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterable, Mapping

    from value_steer.cli.places import Place


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A subcommand.

    Attributes:
        name: As it is typed; the module of ``value_steer.cli`` that runs it has this name.
        summary: What it does, in words that may follow its name.
        examples: Commands, for its help.
        add: Adds its options.
        places: What the paths among them must be, by option as it is typed.
        problems: What is wrong with the options that were given together.
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    add: Callable[[ArgumentParser], None]
    places: Mapping[str, Place]
    problems: Callable[[Namespace], Iterable[str]] = lambda _: ()
