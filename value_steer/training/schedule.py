"""The learning rate over a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from value_steer.training.options import Decay


@dataclass(frozen=True, slots=True)
class Schedule:
    """A linear warm-up, and then a linear decay or none.

    No step is wasted on a rate of zero: the warm-up ends at the full rate, and zero would be
    reached one step after the last.

    Attributes:
        steps: Of the whole run.
        warmup: Share of them that warms up.
        decay: What comes after.
    """

    steps: int
    warmup: float
    decay: Decay

    def __call__(self, step: int) -> float:
        """The share of the full rate at a step, counted from 0."""
        rising = round(self.warmup * self.steps)
        if step < rising:
            return (step + 1) / rising
        if self.decay == "none":
            return 1.0
        return max(0.0, (self.steps - step) / max(1, self.steps - rising))
