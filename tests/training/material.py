"""Data that a head can learn from in seconds."""

from __future__ import annotations

import torch
from torch import Tensor

HIDDEN = 8
Batch = dict[str, Tensor]


def separable(sequences: int, seed: int = 0, batch: int = 16) -> list[Batch]:
    """Hidden states of random lengths from 3 to 6 whose first direction tells the label."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for start in range(0, sequences, batch):
        size = min(batch, sequences - start)
        labels = torch.randint(0, 2, (size,), generator=generator)
        hidden = torch.randn(size, 6, HIDDEN, generator=generator)
        hidden[..., 0] += (4 * labels - 2)[:, None]
        lengths = torch.randint(3, 7, (size,), generator=generator)
        mask = (torch.arange(6) < lengths[:, None]).long()
        batches.append({"hidden_states": hidden, "attention_mask": mask, "labels": labels})
    return batches


def random_labels(sequences: int, seed: int = 0) -> list[Batch]:
    """The same states with labels that have nothing to do with them."""
    batches = separable(sequences, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for batch in batches:
        hidden = batch["hidden_states"]
        hidden[..., 0] = torch.randn(hidden.shape[:2], generator=generator)
    return batches
