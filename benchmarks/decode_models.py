"""The models of the decoding benchmark, and heads that object at a chosen rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, MistralConfig

from compat.behaviour import tiny_models
from compat.behaviour.tiny_models import EOS, SECOND_EOS, VOCABULARY
from value_steer.value_probe import (
    HeadCard,
    Polarity,
    ValueHead,
    load_value_head,
    save_value_head,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Size:
    """The shape of a benchmark model."""

    layers: int
    hidden: int
    intermediate: int


SIZES = {"tiny": Size(2, 128, 256), "large": Size(8, 768, 2048)}
"""``tiny``: every host operation counts. ``large``: the forward pass dominates."""


def build(size: Size, folder: Path) -> Path:
    """Write a random model, in which the end of a sequence is all but impossible."""
    torch.manual_seed(20)
    config = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.hidden // 64,
        num_key_value_heads=size.hidden // 64,
        head_dim=64,
        max_position_embeddings=1024,
        sliding_window=None,
        bos_token_id=tiny_models.BOS,
        eos_token_id=EOS,
        pad_token_id=tiny_models.PAD,
        tie_word_embeddings=False,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(0.0, 1.0)
        output = model.get_output_embeddings().weight
        output.normal_(0.0, 3.4 / size.hidden**0.5)
        output[[EOS, SECOND_EOS]] = 0.0  # a logit of 0 among hundreds with a deviation of 3.4
    model.save_pretrained(folder)
    tiny_models.tokenizer().save_pretrained(folder)
    return folder


def words(draw: random.Random) -> str:
    """A prompt of 32 tokens."""
    return " ".join(f"w{draw.randrange(4, 500):03}" for _ in range(32))


def random_head(size: Size, path: Path) -> Path:
    """An untrained head: its values differ from token to token, as a trained one's do."""
    torch.manual_seed(3)
    head = ValueHead(size.hidden)
    with torch.no_grad():
        head.get_parameter("4.weight").mul_(20.0)
    save_value_head(path, head, HeadCard(hidden_size=size.hidden, scores=Polarity.P_UNDESIRABLE))
    return path


def thresholds(
    model: Path, head: Path, sequences: Sequence[list[int]], rates: Sequence[float]
) -> dict[float, float | str]:
    """The thresholds at which the head objects to these shares of the tokens of sequences."""
    backbone = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    probe = load_value_head(head)
    with torch.no_grad():
        states = [backbone.model(torch.tensor([s])).last_hidden_state[0, 32:] for s in sequences]
        values = probe.p(torch.cat(states))
    return {rate: values.quantile(1 - rate).item() if rate else 1.0 for rate in rates}
