"""The result of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from value_steer.training.metrics import HeadMetrics


@dataclass(frozen=True, slots=True)
class EpochReport:
    """One pass over the training data.

    Attributes:
        epoch: Counted from 1.
        train_loss: Mean loss of its batches, each as it was trained on.
        learning_rate: Of its last step.
        validation: The head after it, if there is validation data.
    """

    epoch: int
    train_loss: float
    learning_rate: float
    validation: HeadMetrics | None


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """A whole run.

    Attributes:
        epochs: In order.
        best_epoch: The one whose weights the head has now: that of the lowest validation loss,
            or the last if there is no validation data.
        stopped_early: The validation loss no longer fell.
        steps: Updates of the weights.
    """

    epochs: tuple[EpochReport, ...]
    best_epoch: int
    stopped_early: bool
    steps: int

    @property
    def best(self) -> EpochReport:
        """The epoch whose weights the head has."""
        return self.epochs[self.best_epoch - 1]
