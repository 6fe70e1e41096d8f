"""Synthetic trajectories whose values are exact, and the authors' rule as they apply it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from value_steer.trajectories import Trajectory, TrajectoryHeader, write_trajectories
from value_steer.value_probe import Polarity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEADER = TrajectoryHeader(Polarity.P_GOOD)


def exact(
    count: int, seed: int = 0, per_prompt: int = 1, decimals: int | None = None
) -> list[Trajectory]:
    """Responses of a model whose value is known: posteriors of a label under Gaussian evidence.

    Args:
        count: Of responses.
        seed: Of the randomness.
        per_prompt: Responses to each prompt.
        decimals: Round the values to so many, which makes ties; ``None`` for none.
    """
    draw = np.random.default_rng(seed)
    found = []
    for i in range(count):
        if i % per_prompt == 0:
            prior = draw.beta(4, 2)
        label = float(draw.random() < prior)
        steps = draw.normal((2 * label - 1) * 0.03, 0.245, size=draw.integers(5, 120))
        values = 1 / (1 + np.exp(-np.log(prior / (1 - prior)) - steps.cumsum()))
        if decimals is not None:
            values = values.round(decimals)
        found.append(Trajectory(f"p{i // per_prompt}", values.astype(np.float32), label, prior))
    return found


def trace(
    values: Sequence[float], label: float = 1.0, prompt: str = "p", prior: float = 0.5
) -> Trajectory:
    """One response."""
    return Trajectory(prompt, np.array(values, np.float32), label, prior)


def written(path: Path, traces: Sequence[Trajectory]) -> Path:
    """A file of trajectories."""
    write_trajectories(path, HEADER, traces)
    return path


@dataclass(frozen=True)
class Oracle:
    """The authors' evaluation, response by response: no part of the package is used.

    A trace abstains at threshold c iff ``min_t v_t < c``, at the first such token; the threshold of
    a rate is that quantile of the minima.
    """

    values: list[list[float]]
    correct: list[float]

    def threshold(self, rate: float) -> float:
        """The empirical quantile of the minima, between order statistics linearly."""
        lows = sorted(min(v) for v in self.values)
        place = rate * (len(lows) - 1)
        below = int(place)
        above = min(below + 1, len(lows) - 1)
        return lows[below] + (lows[above] - lows[below]) * (place - below)

    def abstains_at(self, threshold: float) -> list[int | None]:
        """The number of the token at which each abstains, counted from 1."""
        firsts = ((t for t, v in enumerate(vs, start=1) if v < threshold) for vs in self.values)
        return [next(first, None) for first in firsts]

    def selective_accuracy(self, threshold: float) -> float:
        """Of the traces that are answered."""
        pairs = zip(self.abstains_at(threshold), self.correct, strict=True)
        answered = [correct for at, correct in pairs if at is None]
        return sum(answered) / len(answered)

    def saved_tokens(self, threshold: float) -> float:
        """Share of tokens that are not generated."""
        stops = self.abstains_at(threshold)
        spent = sum(len(v) if at is None else at for v, at in zip(self.values, stops, strict=True))
        return 1 - spent / sum(map(len, self.values))


def oracle(traces: Sequence[Trajectory]) -> Oracle:
    """The authors' evaluation of some trajectories."""
    values = [[float(v) for v in trace.values] for trace in traces]
    return Oracle(values, [trace.label for trace in traces])
