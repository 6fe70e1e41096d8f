"""Data that a head can learn from in seconds."""

from __future__ import annotations

from typing import Any

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


def tiny_mistral(**config: Any) -> Any:
    """A random Mistral of hidden size 32."""
    from transformers import AutoModelForCausalLM, MistralConfig  # noqa: PLC0415  (slow to import)

    settings = MistralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        **config,
    )
    with torch.random.fork_rng():
        torch.manual_seed(20)
        return AutoModelForCausalLM.from_config(settings).eval()
