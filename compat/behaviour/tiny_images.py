"""A tiny random model that sees images, and images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat.behaviour.tiny_models import BOS, EOS, HIDDEN, PAD, SECOND_EOS, VOCABULARY, tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image
    from transformers import Blip2Config, OPTConfig

LANGUAGE = "language"
"""The folder, in that of the model, of what writes its answers."""

_SIDE = 28
_WIDTH = 64
_TOKENS_PER_IMAGE = 4
_IMAGE_TOKEN = 50_265
"""vLLM knows no other one for BLIP-2, whatever the model's configuration says."""


def build(folder: Path, seed: int = 20) -> Path:
    """Write the model with its processor into ``folder`` and return the folder.

    BLIP-2, because vLLM's other models need torchvision, which the suite's environments lack.
    """
    import torch
    from transformers import (
        Blip2ForConditionalGeneration,
        Blip2Processor,
        BlipImageProcessor,
        OPTForCausalLM,
    )

    torch.manual_seed(seed)
    model = Blip2ForConditionalGeneration(_config()).to(torch.float32)
    language = model.language_model
    assert isinstance(language, OPTForCausalLM)
    with torch.no_grad():
        language.get_input_embeddings().weight.normal_(0.0, 1.0)
        # It never answers with a token that the tokenizer lacks.
        language.get_output_embeddings().weight.normal_(0.0, 0.3)[VOCABULARY:].zero_()
        for layer in language.model.decoder.layers:  # an image is seen by attention only
            layer.self_attn.v_proj.weight.normal_(0.0, 0.05)
            layer.self_attn.out_proj.weight.normal_(0.0, 0.05)
        model.query_tokens.normal_(0.0, 1.0)
        model.language_projection.weight.normal_(0.0, 1.0)
    for part, place in ((model, folder), (language, folder / LANGUAGE)):
        part.generation_config.eos_token_id = [EOS, SECOND_EOS]
        part.save_pretrained(place)
    Blip2Processor(
        image_processor=BlipImageProcessor(size={"height": _SIDE, "width": _SIDE}),
        tokenizer=tokenizer(),
        num_query_tokens=_TOKENS_PER_IMAGE,
    ).save_pretrained(folder)
    return folder


def image(seed: int) -> Image:
    """An image of noise, always the same one for a seed."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _config() -> Blip2Config:
    from transformers import Blip2Config, Blip2QFormerConfig, Blip2VisionConfig

    one_layer = {
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
    }
    queries = Blip2QFormerConfig(vocab_size=8, encoder_hidden_size=_WIDTH, **one_layer)
    return Blip2Config(
        vision_config=Blip2VisionConfig(image_size=_SIDE, patch_size=14, **one_layer).to_dict(),
        qformer_config=queries.to_dict(),
        text_config=_language_config().to_dict(),
        num_query_tokens=_TOKENS_PER_IMAGE,
        image_token_index=_IMAGE_TOKEN,
    )


def _language_config() -> OPTConfig:
    from transformers import OPTConfig

    return OPTConfig(
        architectures=["OPTForCausalLM"],  # some releases do not infer it
        vocab_size=50_272,
        hidden_size=HIDDEN,
        word_embed_proj_dim=HIDDEN,
        ffn_dim=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=1024,
        init_std=0.03,
        dropout=0.0,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        tie_word_embeddings=False,
    )
