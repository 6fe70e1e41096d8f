"""Estimates with 95 % intervals: exact for independent rates, bootstrapped over prompts else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.special import betaincinv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
Amounts: TypeAlias = "NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_]"
Mask: TypeAlias = "NDArray[np.bool_]"

LEVEL = 0.95
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval; all ``None`` where there was nothing to measure it on.

    Attributes:
        value: The figure itself.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: How many responses it rests on.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


def proportion(hits: int, n: int) -> Estimate:
    """A share of independent cases, with its Clopper-Pearson interval."""
    if n == 0:
        return Estimate(None, None, None, 0)
    # The ends are quantiles of Beta distributions.
    low = betaincinv(hits, n - hits + 1, (1 - LEVEL) / 2) if hits else 0.0
    high = betaincinv(hits + 1, n - hits, (1 + LEVEL) / 2) if hits < n else 1.0
    return Estimate(hits / n, float(low), float(high), n)


class Prompts:
    """Which prompt each response belongs to, for intervals over prompts.

    Responses to one prompt are alike, so whole prompts are resampled: percentile bootstrap.

    Args:
        prompt_ids: Of each response.
        seed: Of the resampling.
    """

    def __init__(self, prompt_ids: Sequence[str], seed: int = 0) -> None:
        names, self.codes = np.unique(np.asarray(prompt_ids), return_inverse=True)
        self.count = len(names)
        self._seed = seed

    @property
    def all_differ(self) -> bool:
        """Whether no prompt has two responses."""
        return self.count == len(self.codes)

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """How often each prompt is drawn in each resample, ``[resamples, prompts]``."""
        generator = np.random.default_rng(self._seed)
        shares = np.full(self.count, 1 / self.count)
        return generator.multinomial(self.count, shares, size=RESAMPLES).astype(np.float32)

    def rates(self, hits: Mask, among: Mask) -> list[Estimate]:
        """The share of hits among some of the responses.

        Args:
            hits: ``[figures, responses]``.
            among: The responses that count, of the same shape.
        """
        if not self.all_differ:
            return self.ratios(hits & among, among)
        counts = zip((hits & among).sum(1).tolist(), among.sum(1).tolist(), strict=True)
        return [proportion(k, n) for k, n in counts]

    def ratios(
        self, numerators: Amounts, denominators: Amounts, among: Mask | None = None
    ) -> list[Estimate]:
        """Ratios of two sums over responses.

        Args:
            numerators: ``[figures, responses]``.
            denominators: Of the same shape; where their sum is 0 there is no ratio.
            among: The responses that count towards ``n``; those with a denominator by default.
        """
        upper = np.asarray(numerators, np.float64)
        lower = np.asarray(denominators, np.float64)
        counts = ((lower != 0) if among is None else among).sum(1)
        drawn = self._resampled(upper), self._resampled(lower)
        totals = zip(upper.sum(1), lower.sum(1), *drawn, counts.tolist(), strict=True)
        return [_ratio(a, b, many_a, many_b, n) for a, b, many_a, many_b, n in totals]

    def relative(self, own: tuple[Floats, Floats], base: tuple[Floats, Floats]) -> Estimate:
        """A ratio of sums in relation to another one.

        Args:
            own: Numerator and denominator, ``[1, responses]`` each.
            base: Those of what it is compared with.
        """
        sums = [(amounts.sum(), self._resampled(amounts)[0]) for amounts in (*own, *base)]
        (a, many_a), (b, many_b), (c, many_c), (d, many_d) = sums
        return _ratio(a * d, b * c, many_a * many_d, many_b * many_c, own[0].size)

    def _resampled(self, amounts: Floats) -> Floats:
        """Sums over responses in each resample, ``[figures, resamples]``."""
        order = np.argsort(self.codes, kind="stable")
        starts = np.flatnonzero(np.diff(self.codes[order], prepend=-1))
        by_prompt = np.add.reduceat(amounts[:, order], starts, axis=1)
        return np.asarray(by_prompt @ self.weights.T.astype(np.float64))


def _ratio(upper: float, lower: float, uppers: Floats, lowers: Floats, n: int) -> Estimate:
    if lower == 0 or np.isnan(upper) or np.isnan(lower):
        return Estimate(None, None, None, n)
    low, high = percentiles(uppers[lowers != 0] / lowers[lowers != 0])
    return Estimate(float(upper / lower), low, high, n)


def percentiles(resampled: Floats) -> tuple[float, float]:
    """The ends of the interval that holds the middle 95 % of resampled figures."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
