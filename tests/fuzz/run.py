"""Examples of a target, counted, with what escaped of them."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hypothesis
from hypothesis import HealthCheck, Phase

from tests.nonsense import ended_in_time

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fuzz.target import Target

BATCH = 500
"""Examples after which hypothesis starts anew: it remembers all of a run."""


@dataclass(slots=True)
class Tally:
    """What came out.

    Attributes:
        examples: How many were run.
        escapes: How many ended otherwise than they may.
        kinds: One of them for each kind of end and place in the code: the input, the error.
    """

    examples: int = 0
    escapes: int = 0
    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)

    def count(self, example: object, error: BaseException | None) -> None:
        """Enter an example and what escaped of it."""
        self.examples += 1
        if error is None:
            return
        self.escapes += 1
        where = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} in {where.name}, line {where.lineno}"
        shown = repr(example)
        # The shortest says most.
        if kind not in self.kinds or len(shown) < len(self.kinds[kind][0]):
            self.kinds[kind] = shown, "".join(traceback.format_exception(error))


def examine(target: Target, folder: Path, examples: int, seed: int) -> Tally:
    """Run a number of examples of a target; it is the same for the same seed.

    Args:
        target: What is fuzzed.
        folder: Of its own.
        examples: How many.
        seed: Of the first batch; each has the next one.
    """
    tally = Tally()
    folder.mkdir(parents=True)
    while tally.examples < examples:
        _batch(target, folder, min(BATCH, examples - tally.examples), seed, tally)
        seed += 1
    return tally


def _batch(target: Target, folder: Path, examples: int, seed: int, tally: Tally) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @hypothesis.given(target.inputs)
    def one(example: Any) -> None:
        if tally.examples == bound:
            return
        escaped = None
        try:
            with ended_in_time():
                target.check(folder, example)
        except hypothesis.errors.StopTest:  # its own: the input grew too large
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            escaped = error
        tally.count(example, escaped)

    bound = tally.examples + examples
    one()
