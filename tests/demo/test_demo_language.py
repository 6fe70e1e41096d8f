"""The language of the demo and the model that learns it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoTokenizer

from value_steer.demo import grammar, language_model
from value_steer.demo.grammar import ADRIFT, BOS, EOS, HARBOUR, MOORED, PROMPT_WORDS, WORDS, WRECK
from value_steer.demo.language_model import REACH

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import MistralForCausalLM

CALM = WORDS.index("calm")


@pytest.fixture(scope="module")
def model() -> MistralForCausalLM:
    """One that has seen a few texts."""
    return language_model.train(steps=10, seed=1)


def test_every_word_has_a_law() -> None:
    """Each row is a distribution, and no two words are the same."""
    law = grammar.transitions()

    assert torch.allclose(law.sum(-1), torch.ones(len(WORDS), dtype=law.dtype))
    assert len(set(WORDS)) == len(WORDS)


@pytest.mark.parametrize(
    ("response", "good", "decided"),
    [
        ([CALM, HARBOUR, MOORED, EOS], True, True),
        ([CALM, WRECK, ADRIFT, HARBOUR], False, True),
        ([CALM, EOS, HARBOUR], False, True),
        ([CALM, CALM], False, False),
        ([], False, False),
    ],
    ids=["harbour", "a wreck stays one", "ended at sea", "broke off at sea", "empty"],
)
def test_a_text_is_good_if_it_reaches_the_harbour(
    response: list[int], *, good: bool, decided: bool
) -> None:
    """The first ending decides."""
    assert grammar.is_good(response) is good
    assert grammar.is_decided(response) is decided


def test_prompts_differ_and_leave_the_end_open() -> None:
    """So no prompt that the head was trained on is one that it is calibrated on."""
    prompts = grammar.prompts(500, torch.Generator().manual_seed(0))

    assert len({tuple(prompt) for prompt in prompts}) == 500
    for prompt in prompts:
        assert len(prompt) == 1 + PROMPT_WORDS
        assert prompt[0] == BOS
        assert not grammar.is_decided(prompt[1:])
        assert set(prompt[1:]) <= set(range(CALM, HARBOUR))


def test_the_model_sees_no_further_back_than_it_is_enumerated(model: MistralForCausalLM) -> None:
    """What follows a sequence follows its last words, wherever they stand."""
    texts = grammar.write(16, torch.Generator().manual_seed(2))[:, :20]

    whole, last = model(texts).logits[:, -1], model(texts[:, -REACH:]).logits[:, -1]

    assert torch.allclose(whole, last, atol=1e-5)


def test_samples_end_with_their_end(model: MistralForCausalLM) -> None:
    """Nothing follows the ending token, and the same seed gives the same texts."""
    prompts = grammar.prompts(40, torch.Generator().manual_seed(0))

    texts = language_model.sample(model, prompts, seed=3)

    assert texts == language_model.sample(model, prompts, seed=3)
    for text in texts:
        assert 1 <= len(text) <= grammar.MAX_TOKENS
        assert EOS not in text[:-1]


def test_the_checkpoint_has_a_tokenizer_that_speaks_the_language(
    model: MistralForCausalLM, tmp_path: Path
) -> None:
    """One word, one token, both ways."""
    language_model.save(model, tmp_path)

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode("gust gale wreck", add_special_tokens=False) == [
        WORDS.index(word) for word in ("gust", "gale", "wreck")
    ]
    assert tokenizer.decode([HARBOUR, MOORED]) == "harbour moored"
