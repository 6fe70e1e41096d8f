"""The language model of the demo: small, trained here, and served by vLLM like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

from value_steer.demo import grammar
from value_steer.demo.grammar import BOS, EOS, PAD, WORDS
from value_steer.training.progress import progress_bar

if TYPE_CHECKING:
    from pathlib import Path

REACH = 3
"""Last tokens that the model sees, so that all of its states can be enumerated."""

_BATCH = 32
_PEAK = 5e-3


def train(steps: int, seed: int) -> MistralForCausalLM:
    """A model fitted to logs of the grammar."""
    torch.manual_seed(seed)
    model = _new_model()
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=_PEAK, weight_decay=0.0)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimiser, _PEAK, total_steps=steps)
    with progress_bar(steps, shown=True) as advance:
        for step in range(1, steps + 1):
            logs = grammar.write(_BATCH, generator)
            logits = model(logs[:, :-1]).logits
            loss = cross_entropy(logits.flatten(0, 1), logs[:, 1:].flatten(), ignore_index=PAD)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            decay.step()
            advance(step, f"loss {loss.item():.4f}")
    return model.eval().requires_grad_(requires_grad=False)


@torch.no_grad()
def sample(model: MistralForCausalLM, prompts: list[list[int]], seed: int) -> list[list[int]]:
    """One response to each prompt, at temperature 1, the ending token included."""
    torch.manual_seed(seed)
    given = torch.tensor(prompts)
    tokens = model.generate(
        given,
        attention_mask=torch.ones_like(given),
        do_sample=True,
        top_k=0,
        top_p=1.0,
        max_new_tokens=grammar.MAX_TOKENS,
    )
    return [_until_end(row) for row in tokens[:, given.shape[1] :].tolist()]


def save(model: MistralForCausalLM, folder: Path) -> None:
    """Write the checkpoint with its tokenizer."""
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)


def _new_model() -> MistralForCausalLM:
    """A Mistral whose every layer looks at a token and the one before it."""
    return MistralForCausalLM(
        MistralConfig(
            vocab_size=len(WORDS),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=REACH - 1,
            num_attention_heads=1,
            num_key_value_heads=1,
            head_dim=64,  # the smallest that vLLM's CPU attention takes
            sliding_window=2,
            max_position_embeddings=256,
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
            tie_word_embeddings=False,
        )
    ).float()


def _until_end(row: list[int]) -> list[int]:
    return row[: row.index(EOS) + 1] if EOS in row else row


def _tokenizer() -> PreTrainedTokenizerFast:
    """One word, one token."""
    vocabulary = {word: token for token, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        unk_token="<pad>",  # noqa: S106
    )
