"""A training run as it goes: weights, optimiser, where it is, and what it has found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn.utils import clip_grad_norm_

from value_steer.training.errors import TrainingError
from value_steer.training.report import EpochReport, TrainingReport
from value_steer.training.schedule import Schedule

if TYPE_CHECKING:
    from torch import Tensor

    from value_steer.training.metrics import HeadMetrics
    from value_steer.training.options import TrainingOptions
    from value_steer.value_probe import ValueHead


class Run:
    """The state of a run, changed step by step.

    Args:
        head: The head that is trained.
        options: How.
        batches: Steps of an epoch.

    Attributes:
        optimizer: AdamW over the head's parameters.
        epochs: Those that are over.
        batch: Batches done in the epoch that goes on.
        loss_sum: Of those batches.
        best_epoch: The one with the best weights so far; 0 before there is one.
        best_weights: A copy of them.
    """

    def __init__(self, head: ValueHead, options: TrainingOptions, batches: int) -> None:
        self.head = head
        self.options = options
        self.batches = batches
        self.optimizer = torch.optim.AdamW(
            head.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.schedule = Schedule(options.epochs * batches, options.warmup, options.decay)
        self.epochs: list[EpochReport] = []
        self.batch = 0
        self.loss_sum = 0.0
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}

    @property
    def steps(self) -> int:
        """Updates of the weights so far."""
        return len(self.epochs) * self.batches + self.batch

    @property
    def stopped_early(self) -> bool:
        """Whether the validation loss has not improved for as long as the patience lasts."""
        patience = self.options.patience
        return patience is not None and len(self.epochs) - self.best_epoch >= patience

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return len(self.epochs) == self.options.epochs or self.stopped_early

    @property
    def at(self) -> str:
        """Where the run is, in words."""
        return f"epoch {len(self.epochs) + 1}, batch {self.batch + 1} of the training data"

    def step(self, loss: Tensor) -> None:
        """Update the weights by one batch.

        Raises:
            TrainingError: The loss or its gradient is not finite; the weights stay as they were.
        """
        self._require_finite("loss", loss)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_grad_norm_(self.head.parameters(), self.options.clip_norm)
        self._require_finite("norm of the gradient", norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * self.schedule(self.steps)
        self.optimizer.step()
        self.batch += 1
        self.loss_sum += loss.item()

    def end_epoch(self, validation: HeadMetrics | None) -> EpochReport:
        """Book the epoch, and keep the weights if they are the best so far."""
        (group,) = self.optimizer.param_groups
        epoch = EpochReport(
            epoch=len(self.epochs) + 1,
            train_loss=self.loss_sum / self.batches,
            learning_rate=group["lr"],
            validation=validation,
        )
        self.epochs.append(epoch)
        self.batch, self.loss_sum = 0, 0.0
        if validation is None or validation.loss < self._best_loss - self.options.min_delta:
            self.best_epoch = epoch.epoch
            self.best_weights = {k: v.clone() for k, v in self.head.state_dict().items()}
        return epoch

    def report(self) -> TrainingReport:
        """The run so far."""
        return TrainingReport(tuple(self.epochs), self.best_epoch, self.stopped_early, self.steps)

    @property
    def _best_loss(self) -> float:
        best = self.epochs[self.best_epoch - 1].validation if self.best_epoch else None
        return math.inf if best is None else best.loss

    def _require_finite(self, what: str, number: Tensor) -> None:
        if not number.isfinite():
            msg = (
                f"the {what} is {number.item()} at step {self.steps + 1} ({self.at}); the head "
                "keeps its weights of the step before. Look for features that are not finite, or "
                "lower learning_rate"
            )
            raise TrainingError(msg)
