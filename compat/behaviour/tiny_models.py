"""Tiny random models with a tokenizer, made here: the suite downloads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PretrainedConfig, PreTrainedTokenizerFast

VOCABULARY = 512
HIDDEN = 128
BOS, EOS, SECOND_EOS, PAD = 0, 1, 2, 3
FIRST_WORD = 4
FAMILIES = ("mistral", "llama")
RANK = 8
"""Of the adapter."""

_LAYERS = 2
_ADAPTED = ["q_proj", "v_proj", "o_proj"]

_CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


def build(family: str, folder: Path, seed: int = 20) -> Path:
    """Write a model of ``family`` with its tokenizer into ``folder`` and return the folder."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(_config(family), dtype=torch.float32)
    with torch.no_grad():
        # Large enough for varied continuations; transformers' default makes a constant talker.
        model.get_input_embeddings().weight.normal_(0.0, 1.0)
        model.get_output_embeddings().weight.normal_(0.0, 0.3)
    # Two end-of-sequence ids, as chat models have.
    model.generation_config.eos_token_id = [EOS, SECOND_EOS]
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def _config(family: str) -> PretrainedConfig:
    from transformers import LlamaConfig, MistralConfig

    config = {"mistral": MistralConfig, "llama": LlamaConfig}[family]
    return config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=256,
        num_hidden_layers=_LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,  # the smallest that vLLM's CPU attention takes
        max_position_embeddings=1024,
        initializer_range=0.03,  # the last token stays legible in the hidden state
        sliding_window=None,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        tie_word_embeddings=False,
    )


def adapter(folder: Path) -> Path:
    """Write a LoRA adapter that changes every answer into ``folder`` and return the folder."""
    import json

    import torch
    from safetensors.torch import save_file

    draw = torch.Generator().manual_seed(22)
    tensors = {}
    for layer in range(_LAYERS):
        for target in _ADAPTED:
            at = f"base_model.model.model.layers.{layer}.self_attn.{target}"
            for name, shape in (("lora_A", (RANK, HIDDEN)), ("lora_B", (HIDDEN, RANK))):
                tensors[f"{at}.{name}.weight"] = torch.randn(shape, generator=draw) * 0.15
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 16, "target_modules": _ADAPTED}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of every model here: one word, one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "</s>", "<|end|>", "<pad>"]
    # Of one width, so that no word is the beginning of another: grammars see them glued together.
    words += [f"w{i:03}" for i in range(FIRST_WORD, VOCABULARY)]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<pad>",
        chat_template=_CHAT_TEMPLATE,
    )
