"""Training a value head."""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.errors import SettingsError
from value_steer.training.backbone import Backbone
from value_steer.training.errors import TrainingError
from value_steer.training.losses import objective
from value_steer.training.options import FILTERING
from value_steer.training.progress import Advance, log_epoch, progress_bar
from value_steer.training.run import Run
from value_steer.training.scoring import Scorer, evaluate
from value_steer.training.state import Randomness, StateFile
from value_steer.value_probe.card import FeatureSpec

if TYPE_CHECKING:
    import os

    from torch import nn

    from value_steer.training.batches import Loader
    from value_steer.training.options import LossName, TrainingOptions
    from value_steer.training.report import TrainingReport
    from value_steer.value_probe import ValueHead


def train_probe(  # noqa: PLR0913  (the three settings that are most often set stand by name)
    backbone: nn.Module | None,
    head: ValueHead,
    train_loader: Loader,
    validation_loader: Loader | None = None,
    *,
    loss_name: LossName | None = None,
    use_td: bool | None = None,
    coh_weight: float | None = None,
    options: TrainingOptions = FILTERING,
    state_file: str | os.PathLike[str] | None = None,
    state_every: int = 500,
    progress: bool = True,
) -> TrainingReport:
    """Train a head in place; it is left in evaluation mode with the weights of the best epoch.

    Args:
        backbone: A causal language model of ``transformers``, which is left as it is; ``None`` if
            the batches hold ``hidden_states``, ``[B, T, H]``, as ``lm_head`` consumes them.
        head: The head. What its card says of backbone and capture is updated; a calibration of
            its former weights is dropped.
        train_loader: Yields batches with ``input_ids`` and ``attention_mask``, ``[B, T]``;
            ``labels`` in [0, 1], ``[B]`` or ``[B, T]``; and a ``response_mask``, ``[B, T]``, if
            not every token is trained on. It has a length.
        validation_loader: The same, for metrics and early stopping. Neither its prompts nor the
            training's may serve to calibrate the head.
        loss_name: Outranks ``options``, as do ``use_td`` and ``coh_weight``.
        use_td: See :class:`TrainingOptions`.
        coh_weight: See :class:`TrainingOptions`.
        options: All settings.
        state_file: Where the run is kept; if it exists, the run goes on from there. On a CPU it
            then ends in the very bits of an uninterrupted one, if the loader draws its order from
            torch's generators.
        state_every: Steps between two writes of it; it is also written after each epoch.
        progress: Show a progress bar where standard error is a terminal.

    Raises:
        TrainingError: Says what is wrong with which batch, the backbone or the state file, or at
            which step the loss ceased to be a number.
        SettingsError: A setting is out of range.
    """
    if state_every < 1:
        msg = f"state_every = {state_every} must be at least 1"
        raise SettingsError(msg)
    options = replace(
        options,
        loss_name=options.loss_name if loss_name is None else loss_name,
        use_td=options.use_td if use_td is None else use_td,
        coh_weight=options.coh_weight if coh_weight is None else coh_weight,
    )
    model = None if backbone is None else Backbone(backbone, options.autocast)
    head.requires_grad_(requires_grad=True)
    trainer = Trainer(
        scorer=Scorer(head, model),
        train=train_loader,
        validation=validation_loader,
        run=Run(head, options, _length(train_loader)),
        state=None if state_file is None else StateFile(Path(state_file), train_loader),
        state_every=state_every,
    )
    with nullcontext() if model is None else model.frozen():
        report = trainer.fit(progress=progress)
    _update_card(head, backbone)
    return report


@dataclass(slots=True)
class Trainer:
    """The loop over epochs and batches.

    Attributes:
        scorer: The head on its features.
        train: Training data.
        validation: Validation data, if any.
        run: Where the training is.
        state: Where that is kept, if anywhere.
        state_every: Steps between two writes.
    """

    scorer: Scorer
    train: Loader
    validation: Loader | None
    run: Run
    state: StateFile | None = None
    state_every: int = 500

    def fit(self, *, progress: bool) -> TrainingReport:
        """Train to the end, from wherever the state file has the run."""
        run, head = self.run, self.scorer.head
        resumed = None if self.state is None else self.state.resume(run)
        with progress_bar(run.schedule.steps, shown=progress) as advance:
            while not run.finished:
                self._epoch(resumed, advance)
                resumed = None
        head.load_state_dict(run.best_weights)
        head.eval()
        return run.report()

    def _epoch(self, resumed: tuple[Randomness, Randomness] | None, advance: Advance) -> None:
        """One epoch, or the rest of one."""
        run = self.run
        began, now = resumed or (Randomness.now(self.train),) * 2
        # The loader draws its order as it did when the epoch began; what is done is skipped.
        began.restore(self.train)
        batches = iter(self.train)
        if run.batch:
            deque(islice(batches, run.batch), maxlen=0)
            now.restore(self.train)
        run.head.train()
        for batch in batches:
            logits, tokens = self.scorer.score(batch, run.at)
            run.step(objective(logits, tokens, run.options))
            advance(run.steps, f"loss {run.loss_sum / run.batch:.4f}")
            if self.state is not None and run.steps % self.state_every == 0:
                self.state.save(run, began)
        self._end_epoch()

    def _end_epoch(self) -> None:
        run = self.run
        if run.batch != run.batches:
            msg = (
                f"the training loader has length {run.batches} but yielded {run.batch} batches; "
                "the schedule needs its true length"
            )
            raise TrainingError(msg)
        metrics = None
        if self.validation is not None:
            metrics = evaluate(self.scorer, self.validation, run.options)
        log_epoch(run.end_epoch(metrics))
        if self.state is not None:
            self.state.save(run, Randomness.now(self.train))


def _length(loader: Loader) -> int:
    """How many batches a loader yields."""
    try:
        length = len(loader) if isinstance(loader, Sized) else 0
    except TypeError:  # A DataLoader over an iterable data set says so only when it is asked.
        length = 0
    if length < 1:
        msg = (
            "the training loader is empty or has no length, which the schedule needs; give a "
            "DataLoader over a data set with a length, or a list of batches"
        )
        raise TrainingError(msg)
    return length


def _update_card(head: ValueHead, backbone: nn.Module | None) -> None:
    """Describe the head as it is now; its former calibration does not apply any more."""
    card = replace(head.card, threshold=None, curves=())
    if backbone is not None:
        name = getattr(getattr(backbone, "config", None), "_name_or_path", "") or None
        feature = FeatureSpec(capture="prefill")
        card = replace(card, feature=feature, backbone=name or card.backbone)
    head.card = card
