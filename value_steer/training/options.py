"""How a head is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from value_steer.errors import SettingsError

LossName: TypeAlias = Literal["focal", "bce", "mse"]
Weighting: TypeAlias = Literal["per_sequence", "pooled"]
Decay: TypeAlias = Literal["linear", "none"]
Precision: TypeAlias = Literal["bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions:
    """Settings of a training run; the defaults are those of value-filtered decoding.

    Attributes:
        loss_name: ``focal``, ``bce``, or ``mse`` of the probability to the label.
        use_td: Add the temporal-difference smoothness of the logits.
        coh_weight: Its weight.
        gamma: Exponent of the focal loss; 0 leaves a weighted BCE.
        alpha: Weight of the label 1 in the focal loss; the label 0 has ``1 - alpha``.
        weighting: ``per_sequence``: tokens are averaged within a sequence first. ``pooled``: all
            tokens of a batch weigh the same, so that long sequences weigh more.
        learning_rate: Of AdamW, at its highest.
        weight_decay: Of AdamW.
        clip_norm: Norm to which gradients are clipped.
        warmup: Share of the steps in which the rate rises linearly.
        decay: ``linear`` to zero after the warm-up, or ``none``.
        epochs: Passes over the training data at most.
        patience: Epochs without a better validation loss that end the run; ``None`` for no end.
        min_delta: How much lower a validation loss must be to count as better.
        autocast: Precision in which the backbone runs; ``None`` leaves it in that of its weights.

    Raises:
        SettingsError: A setting is out of range; all that are, are listed.

    Source: "Selective Safety Steering via Value-Filtered Decoding", as its authors' code has it.
    """

    loss_name: LossName = "focal"
    use_td: bool = True
    coh_weight: float = 0.1
    gamma: float = 1.0
    alpha: float = 0.7
    weighting: Weighting = "per_sequence"
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    warmup: float = 0.1
    decay: Decay = "linear"
    epochs: int = 10
    patience: int | None = 3
    min_delta: float = 1e-4
    autocast: Precision | None = None

    def __post_init__(self) -> None:
        allowed = {
            "loss_name": (self.loss_name in get_args(LossName), f"one of {get_args(LossName)}"),
            "weighting": (self.weighting in get_args(Weighting), f"one of {get_args(Weighting)}"),
            "decay": (self.decay in get_args(Decay), f"one of {get_args(Decay)}"),
            "autocast": (
                self.autocast is None or self.autocast in get_args(Precision),
                f"None or one of {get_args(Precision)}",
            ),
            "coh_weight": (self.coh_weight >= 0, "at least 0"),
            "gamma": (self.gamma >= 0, "at least 0"),
            "alpha": (0 < self.alpha < 1, "between 0 and 1"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "clip_norm": (self.clip_norm > 0, "above 0"),
            "warmup": (0 <= self.warmup <= 1, "from 0 to 1"),
            "epochs": (self.epochs >= 1, "at least 1"),
            "patience": (self.patience is None or self.patience >= 1, "None or at least 1"),
            "min_delta": (self.min_delta >= 0, "at least 0"),
        }
        wrong = [
            f"{name} = {getattr(self, name)!r} must be {what}"
            for name, (holds, what) in allowed.items()
            if not holds
        ]
        if wrong:
            msg = f"training options: {'; '.join(wrong)}"
            raise SettingsError(msg)


FILTERING = TrainingOptions()
"""The recipe of "Selective Safety Steering via Value-Filtered Decoding"."""

ABSTENTION = TrainingOptions(
    loss_name="bce",
    use_td=False,
    weighting="pooled",
    warmup=0.0,
    decay="none",
    epochs=5,
    patience=None,
)
"""The recipe of "Knowing When to Quit", as its authors' code has it."""
