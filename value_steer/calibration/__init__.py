"""From labelled trajectories to thresholds whose guarantees hold."""

from value_steer.calibration.abstention import (
    AbstentionRule,
    abstention_rewards,
    rate_threshold,
    withholding_threshold,
)
from value_steer.calibration.bounds import clopper_pearson_upper
from value_steer.calibration.curves import Samples, alpha_curve, rate_curve, reward_curve
from value_steer.calibration.posterior import (
    martingale_threshold,
    posterior_threshold,
    request_threshold,
)
from value_steer.calibration.prompts import (
    is_held_out,
    one_per_prompt,
    refuse_training_prompts,
    split_by_prompt,
    write_training_prompts,
)
from value_steer.calibration.sidecar import (
    CalibrationOptions,
    CalibrationReport,
    OperatingPoint,
    calibrate_file,
)

__all__ = [
    "AbstentionRule",
    "CalibrationOptions",
    "CalibrationReport",
    "OperatingPoint",
    "Samples",
    "abstention_rewards",
    "alpha_curve",
    "calibrate_file",
    "clopper_pearson_upper",
    "is_held_out",
    "martingale_threshold",
    "one_per_prompt",
    "posterior_threshold",
    "rate_curve",
    "rate_threshold",
    "refuse_training_prompts",
    "request_threshold",
    "reward_curve",
    "split_by_prompt",
    "withholding_threshold",
    "write_training_prompts",
]
