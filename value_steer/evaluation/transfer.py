"""Does a threshold chosen for a rate on some prompts have that rate on others?

Source: "Knowing When to Quit", threshold calibration across splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from value_steer.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from value_steer.evaluation.intervals import Prompts
    from value_steer.evaluation.rules import Rule

RATES = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Target rates: 19, evenly spaced."""


@dataclass(frozen=True, slots=True)
class TransferPoint:
    """One target rate over all splits.

    Attributes:
        target: The rate that was asked for.
        achieved: Mean rate on the prompts that were left out.
        split_error: Mean over splits of ``|rate - target|``: what one calibration may be off by.
        split_deviation: Standard deviation of the rate over splits.
    """

    target: float
    achieved: float
    split_error: float
    split_deviation: float

    @property
    def error(self) -> float:
        """How far the mean over splits is off."""
        return abs(self.achieved - self.target)


@dataclass(frozen=True, slots=True)
class Transfer:
    """How thresholds transfer.

    Attributes:
        splits: Number of random splits.
        calibration_prompts: Prompts that a threshold was chosen on.
        points: One per target rate.
        mean_error: Mean over target rates of ``|mean achieved - target|``.
        worst_error: The largest of those.
        split_error: Mean over target rates and splits of ``|achieved - target|``; it falls with the
            square root of the calibration set.
    """

    splits: int
    calibration_prompts: int
    points: tuple[TransferPoint, ...]
    mean_error: float
    worst_error: float
    split_error: float


def threshold_transfer(
    rule: Rule,
    prompts: Prompts,
    *,
    calibration_share: float = 0.1,
    splits: int = 20,
    seed: int = 0,
) -> Transfer:
    """Choose thresholds on a share of the prompts, and count abstentions on the rest.

    Args:
        rule: The rule.
        prompts: Of its responses; a prompt is on one side of a split with all its responses.
        calibration_share: Share of prompts to choose on.
        splits: Random splits.
        seed: Of the splits.

    Raises:
        DataError: A side of the split would be empty.
    """
    chosen = round(calibration_share * prompts.count)
    if not 0 < chosen < prompts.count:
        msg = f"{prompts.count} prompts cannot be split at {calibration_share}; use more of them"
        raise DataError(msg)
    generator = np.random.default_rng(seed)
    achieved = np.empty((splits, len(RATES)))
    for split in achieved:
        calibrates = np.isin(prompts.codes, generator.permutation(prompts.count)[:chosen])
        split[:] = _rates(rule.score[calibrates], rule.score[~calibrates], np.array(RATES))
    off = np.abs(achieved - RATES)
    columns = (np.array(RATES), achieved.mean(0), off.mean(0), achieved.std(0))
    points = tuple(
        TransferPoint(*values) for values in zip(*(c.tolist() for c in columns), strict=True)
    )
    errors = [point.error for point in points]
    return Transfer(splits, chosen, points, float(np.mean(errors)), max(errors), float(off.mean()))


def _rates(
    calibration: NDArray[np.float64], rest: NDArray[np.float64], targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    thresholds = np.quantile(calibration, targets)
    return np.asarray((rest < thresholds[:, None]).mean(1))
