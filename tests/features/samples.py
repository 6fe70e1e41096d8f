"""Made-up responses with hidden states."""

from __future__ import annotations

from zlib import crc32

import torch

from value_steer.features import Response, ResponseFeatures, ResponseKey

HIDDEN = 8


def features(
    prompt_id: str, length: int = 3, *, sample: int = 0, label: float | None = None
) -> ResponseFeatures:
    """A response whose states are drawn from its key."""
    generator = torch.Generator().manual_seed(crc32(f"{prompt_id} {sample} {length}".encode()))
    response = Response(
        ResponseKey(prompt_id, sample),
        f"prompt {prompt_id}",
        "réponse",
        "stop",
        "42",
        (1, 2),
        label,
    )
    return ResponseFeatures(
        response=response,
        tokens=torch.randint(100, (length,), generator=generator, dtype=torch.int32),
        hidden=torch.randn(length, HIDDEN, generator=generator),
        prior=torch.randn(HIDDEN, generator=generator),
    )


def same(one: ResponseFeatures, other: ResponseFeatures) -> bool:
    """Whether two are equal, tensors included."""
    pairs = (
        (one.tokens, other.tokens),
        (one.hidden, other.hidden),
        (one.prior, other.prior),
    )
    return one.response == other.response and all(torch.equal(a, b) for a, b in pairs)
