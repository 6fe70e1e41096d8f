"""A head's logits for the tokens of a batch, and its metrics on a whole data set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from value_steer.training.batches import Tokens, as_mapping, response_tokens
from value_steer.training.errors import TrainingError
from value_steer.training.losses import objective
from value_steer.training.metrics import HeadMetrics, head_metrics

if TYPE_CHECKING:
    from torch import Tensor

    from value_steer.training.backbone import Backbone
    from value_steer.training.batches import CachedBatch, Loader, RawBatch
    from value_steer.training.options import TrainingOptions
    from value_steer.value_probe import ValueHead


@dataclass(frozen=True, slots=True)
class Scorer:
    """A head on the features of a backbone, or on features that a batch brings.

    Attributes:
        head: The head.
        backbone: ``None`` if batches hold ``hidden_states``.
    """

    head: ValueHead
    backbone: Backbone | None

    def score(self, batch: RawBatch | CachedBatch, at: str) -> tuple[Tensor, Tokens]:
        """The logits ``[N]`` of the tokens that are trained on, and the tokens.

        Args:
            batch: A batch.
            at: Where it came from, for error messages.

        Raises:
            TrainingError: The batch is malformed, or of another hidden size than the head.
        """
        raw = as_mapping(batch, at)
        hidden = self._hidden_states(raw, at)
        size, length, width = hidden.shape
        if width != self.head.hidden_size:
            msg = (
                f"{at}: hidden states of size {width}, but the head reads size "
                f"{self.head.hidden_size}; make it ValueHead({width})"
            )
            raise TrainingError(msg)
        tokens = response_tokens(raw, (size, length), at)
        # Chosen before the head sees them: what stands in the padding may be anything.
        chosen = hidden[tokens.rows.to(hidden.device), tokens.columns.to(hidden.device)]
        device = self.head.device
        return self.head.logit(chosen.to(device)), tokens.to(device)

    def _hidden_states(self, raw: RawBatch, at: str) -> Tensor:
        wanted = ("hidden_states",) if self.backbone is None else ("input_ids", "attention_mask")
        missing = [key for key in wanted if key not in raw]
        if missing or (self.backbone is not None and "hidden_states" in raw):
            msg = (
                f"{at}: got {', '.join(raw)}; with a backbone a batch holds input_ids and "
                "attention_mask, with backbone=None it holds hidden_states"
            )
            raise TrainingError(msg)
        if self.backbone is not None:
            return self.backbone.features(raw["input_ids"], raw["attention_mask"])
        hidden = raw["hidden_states"]
        if hidden.ndim != 3 or not hidden.is_floating_point():
            msg = (
                f"{at}: hidden_states have shape {tuple(hidden.shape)} and type {hidden.dtype}; "
                "expected [B, T, H] in floating point"
            )
            raise TrainingError(msg)
        return hidden


@torch.no_grad()
def evaluate(scorer: Scorer, loader: Loader, options: TrainingOptions) -> HeadMetrics:
    """The objective and the metrics of a head on all of a data set, in evaluation mode.

    The objective is taken over the whole set, so it does not depend on how it is batched.

    Raises:
        TrainingError: The data set is empty, or a batch of it cannot be scored.
    """
    was_training = scorer.head.training
    scorer.head.eval()
    scored = []
    sequences = 0
    for number, batch in enumerate(loader, start=1):
        logits, tokens = scorer.score(batch, f"batch {number} of the validation data")
        scored.append((logits, Tokens(tokens.labels, tokens.rows + sequences, tokens.columns)))
        sequences += int(tokens.rows.max()) + 1
    scorer.head.train(was_training)
    if not scored:
        msg = "the validation loader yielded no batch; leave it out, or give it data"
        raise TrainingError(msg)
    logits = torch.cat([logits for logits, _ in scored])
    tokens = Tokens(
        labels=torch.cat([tokens.labels for _, tokens in scored]),
        rows=torch.cat([tokens.rows for _, tokens in scored]),
        columns=torch.cat([tokens.columns for _, tokens in scored]),
    )
    loss = objective(logits, tokens, options).item()
    if not math.isfinite(loss):
        msg = f"the loss on the validation data is {loss}; look for features that are not finite"
        raise TrainingError(msg)
    return head_metrics(loss, logits.sigmoid(), tokens)
