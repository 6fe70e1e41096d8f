"""From a cache of features and labels to the file of a head."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from value_steer.calibration import is_held_out, write_training_prompts
from value_steer.calibration.prompts import require_lines
from value_steer.errors import SettingsError
from value_steer.features import FeatureCache, FeatureDataset, loader
from value_steer.training.checkpoint import save_probe_checkpoint
from value_steer.training.device import require_device
from value_steer.training.errors import TrainingError
from value_steer.training.loop import Trainer
from value_steer.training.options import FILTERING
from value_steer.training.run import Run
from value_steer.training.scoring import Scorer
from value_steer.training.state import StateFile
from value_steer.value_probe import Polarity, ValueHead
from value_steer.value_probe.head import Architecture

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor
    from torch.utils.data import DataLoader

    from value_steer.features import FeatureBatch, ResponseKey
    from value_steer.training.options import TrainingOptions
    from value_steer.training.report import TrainingReport


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureTraining:
    """Which head is trained on which part of a cache.

    Attributes:
        scores: What the head is to score: P(good) for abstention, P(undesirable) for filtering.
        architecture: Its layers.
        prompt_position: Train on the last position of the prompt as well, with the label of the
            response: the martingale rule needs a head that knows it.
        calibration_share: Share of the prompts that is not looked at, so that it can calibrate the
            head: those for which ``is_held_out(prompt_id, calibration_share, seed)`` holds.
        validation_share: Share of the other prompts that ends the training early.
        batch_size: Responses per step.
        seed: Of the split, the weights, the order and the dropout.
        device: Where the head is trained.
        workers: Processes that read the cache.

    Raises:
        SettingsError: A share is outside [0, 1), the batch size is below 1, or torch has no such
            device here.
    """

    scores: Polarity
    architecture: Architecture = Architecture.THREE_LAYER
    prompt_position: bool = False
    calibration_share: float = 0.2
    validation_share: float = 0.1
    batch_size: int = 128
    seed: int = 0
    device: str = "cpu"
    workers: int = 0

    def __post_init__(self) -> None:
        for name in ("calibration_share", "validation_share"):
            if not 0 <= getattr(self, name) < 1:
                msg = f"{name} = {getattr(self, name)} must be at least 0 and below 1"
                raise SettingsError(msg)
        if self.batch_size < 1:
            msg = f"batch_size = {self.batch_size} must be at least 1"
            raise SettingsError(msg)
        require_device(self.device)

    def trains(self, prompt_id: str) -> bool:
        """Whether the weights are fitted to a prompt."""
        return not self._calibrates(prompt_id) and not self._stops(prompt_id)

    def validates(self, prompt_id: str) -> bool:
        """Whether a prompt decides when training ends."""
        return not self._calibrates(prompt_id) and self._stops(prompt_id)

    def _calibrates(self, prompt_id: str) -> bool:
        return is_held_out(prompt_id, self.calibration_share, self.seed)

    def _stops(self, prompt_id: str) -> bool:
        # Of another seed, else the smaller share would lie within the larger one.
        return is_held_out(prompt_id, self.validation_share, self.seed + 1)


def train_from_features(  # noqa: PLR0913  (what goes in, what comes out, and how)
    cache: str | os.PathLike[str],
    labels: Mapping[ResponseKey, float | None] | None,
    output: str | os.PathLike[str],
    training: FeatureTraining,
    options: TrainingOptions = FILTERING,
    *,
    state_every: int = 500,
    progress: bool = True,
) -> TrainingReport:
    """Train a head on a cache of features and write it, its card and the list of its prompts.

    A run that is killed goes on where it was when it is started again with the same arguments; its
    state is in ``<output>.state`` until the head is written.

    Args:
        cache: Folder of the cache.
        labels: One per response, 1 is good; ``None`` for those stored with the features.
        output: The head's file: ``.safetensors``, ``.pt`` or ``.bin``.
        training: Which head, on which prompts.
        options: How.
        state_every: Steps between two writes of the state.
        progress: Show a progress bar where standard error is a terminal.

    Raises:
        FeatureCacheError: The cache cannot be read, or a response has no label.
        DataError: A prompt's id is no line of the list.
        TrainingError: There are too few prompts for the shares, training failed, or the state is
            that of another run.
        CheckpointError: The head cannot be written there.
    """
    source, file = FeatureCache.open(cache), Path(output)
    _require_prompts(source, training)
    parts = {
        part: FeatureDataset(source, labels, keep, training.scores)
        for part, keep in _parts(training).items()
    }
    state = file.with_name(file.name + ".state")
    with torch.random.fork_rng(_cuda(training.device)):
        torch.manual_seed(training.seed)
        head = ValueHead(source.spec.hidden_size, training.architecture).to(training.device)
        batches = {part: _batches(dataset, training, part) for part, dataset in parts.items()}
        report = Trainer(
            scorer=Scorer(head, None),
            train=batches["train"],
            validation=batches.get("validation"),
            run=Run(head, options, len(batches["train"])),
            state=StateFile(state, batches["train"], _identity(source, labels, training)),
            state_every=state_every,
        ).fit(progress=progress)
    # First, for a head must not lie beside the list of the one before it.
    write_training_prompts(file, _prompts(source, training))
    save_probe_checkpoint(
        file,
        head,
        meta=_meta(training, options, report),
        scores=training.scores,
        capture=source.spec.capture,
        backbone=source.spec.settings.model,
    )
    state.unlink(missing_ok=True)
    return report


class _Batches:
    """The batches of a loader, with the last position of the prompt in front of the response."""

    def __init__(self, batches: DataLoader[FeatureBatch]) -> None:
        self._batches = batches
        self.generator = batches.generator

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for batch in self._batches:
            always = torch.ones_like(batch.mask[:, :1])
            yield {
                "hidden_states": torch.cat([batch.prior[:, None], batch.hidden], dim=1),
                "response_mask": torch.cat([always, batch.mask], dim=1),
                "labels": batch.labels,
            }


def _batches(
    dataset: FeatureDataset, training: FeatureTraining, part: str
) -> DataLoader[FeatureBatch] | _Batches:
    seed = training.seed if part == "train" else None
    batches = loader(dataset, training.batch_size, shuffle_seed=seed, workers=training.workers)
    return _Batches(batches) if training.prompt_position else batches


def _parts(training: FeatureTraining) -> dict[str, Callable[[str], bool]]:
    parts: dict[str, Callable[[str], bool]] = {"train": training.trains}
    if training.validation_share:
        parts["validation"] = training.validates
    return parts


def _require_prompts(cache: FeatureCache, training: FeatureTraining) -> None:
    """Refuse a cache so small that chance leaves a part without a prompt."""
    prompts = {key.prompt_id for key in cache.keys()}  # noqa: SIM118  (a cache is no mapping)
    require_lines(prompts)
    for part, keep in _parts(training).items():
        if not any(map(keep, prompts)):
            msg = (
                f"{cache.folder}: none of its {len(prompts)} prompts falls into the {part} part "
                f"(of the prompts {training.calibration_share:g} are left for calibration, of the "
                f"others {training.validation_share:g} for validation); capture more prompts, or "
                "choose other shares (a validation share of 0 trains without)"
            )
            raise TrainingError(msg)


def _prompts(cache: FeatureCache, training: FeatureTraining) -> set[str]:
    """The prompts that the head was trained or stopped on."""
    seen = {key.prompt_id for key in cache.keys()}  # noqa: SIM118  (a cache is no mapping)
    return {name for name in seen if training.trains(name) or training.validates(name)}


def _identity(
    cache: FeatureCache,
    labels: Mapping[ResponseKey, float | None] | None,
    training: FeatureTraining,
) -> str:
    """The properties that a state must share with the run that resumes it."""
    shards = [asdict(shard) for shard in cache.shards]
    given = None if labels is None else sorted((*key, label) for key, label in labels.items())
    body = json.dumps([shards, given, asdict(training)])
    return hashlib.sha256(body.encode()).hexdigest()


def _cuda(device: str) -> list[torch.device]:
    return [torch.device(device)] if device.startswith("cuda") else []


def _meta(
    training: FeatureTraining, options: TrainingOptions, report: TrainingReport
) -> dict[str, str | int | float | bool | None]:
    """The card's statements about the training."""
    meta: dict[str, str | int | float | bool | None] = {
        "loss": options.loss_name,
        "weighting": options.weighting,
        "coh_weight": options.coh_weight if options.use_td else 0.0,
        "prompt_position": training.prompt_position,
        "seed": training.seed,
        "calibration_share": training.calibration_share,
        "epoch": report.best_epoch,
        "steps": report.steps,
    }
    if report.best.validation is not None:
        measured = asdict(report.best.validation)
        meta |= {f"validation.{name}": value for name, value in measured.items()}
    return meta
