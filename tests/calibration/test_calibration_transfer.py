"""Thresholds for a rate carry over from a tenth of the responses to the rest."""

from __future__ import annotations

import numpy as np
import pytest

from tests.calibration.material import trajectories_of, walks
from value_steer.calibration import split_by_prompt
from value_steer.calibration.levels import below_threshold_of

RATES = [round(0.05 * i, 2) for i in range(1, 20)]


@pytest.mark.parametrize("responses", [21_120, 10_800], ids=["as GSM8K", "as OlympiadBench"])
def test_rates_transfer(responses: int) -> None:
    """10 % of the prompts calibrate: 20 splits, 19 rates, mean error at most .011."""
    values, good = walks(np.random.default_rng(responses), responses, tokens=30)
    # The last value of an exact head is 0 or 1, which no trained head gives.
    trajectories = trajectories_of(values[:, :-1], good)
    lowest = np.array([t.values.min() for t in trajectories])
    at = {t.prompt_id: i for i, t in enumerate(trajectories)}
    errors = []
    for seed in range(20):
        held_out, rest = split_by_prompt(trajectories, 0.1, seed)
        scores = lowest[[at[t.prompt_id] for t in held_out]]
        others = lowest[[at[t.prompt_id] for t in rest]]
        for rate in RATES:
            threshold = float(below_threshold_of(scores, rate))
            errors.append(abs(float((others < threshold).mean()) - rate))

    assert np.mean(errors) <= 0.011
