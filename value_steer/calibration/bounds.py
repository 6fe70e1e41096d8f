"""Exact binomial confidence bounds."""

from __future__ import annotations

import numpy as np

from value_steer.errors import CalibrationError

_HALVINGS = 60


def clopper_pearson_upper(events: int, n: int, confidence: float = 0.95) -> float:
    """The one-sided upper confidence bound on a probability.

    Args:
        events: How often it happened.
        n: In how many independent trials.
        confidence: Probability that the bound holds.

    Raises:
        CalibrationError: ``events`` is not from 0 to ``n``, or ``confidence`` not in (0, 1).

    Source: Clopper and Pearson (1934).
    """
    # Half a count, and a count that is not a number, have no remainder of 0.
    are_counts = 0 <= events <= n and n >= 1 and events % 1 == 0 and n % 1 == 0
    if not are_counts or not 0 < confidence < 1:
        msg = f"{events} events of {n} at confidence {confidence} have no bound; check the counts"
        raise CalibrationError(msg)
    if events == n:
        return 1.0
    counts = np.arange(1, events + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log((n - counts + 1) / counts))])
    successes = np.arange(events + 1)
    low, high = events / n, 1.0
    for _ in range(_HALVINGS):
        p = (low + high) / 2
        if p in {low, high}:
            break
        logs = log_choose + successes * np.log(p) + (n - successes) * np.log1p(-p)
        at_most = float(np.exp(logs).sum())
        low, high = (p, high) if at_most > 1 - confidence else (low, p)
    return high


def clopper_pearson_interval(events: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided confidence interval of a probability.

    Args:
        events: How often it happened.
        n: In how many independent trials.
        confidence: Probability that the interval holds; half of the rest lies on either side.

    Raises:
        CalibrationError: See :func:`clopper_pearson_upper`.
    """
    one_sided = (1 + confidence) / 2
    low = 1.0 - clopper_pearson_upper(n - events, n, one_sided)
    return low, clopper_pearson_upper(events, n, one_sided)
