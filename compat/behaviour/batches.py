"""Request batches that several tests send."""

from __future__ import annotations

import os
import random
from typing import Any

from compat.behaviour.messages import CACHE_TOKENS, SMALLEST, Request
from compat.behaviour.tiny_models import FIRST_WORD, VOCABULARY

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether the host's kernels are interpreted: slowly, and some of them not at all."""

SHORT = INTERPRETED or "VALUE_STEER_SUITE_WORKER" in os.environ
"""Whether responses are as short as they may be: a plug-in that is dead shows it in few tokens."""

USUAL = 24 if SHORT else 60
"""Tokens of a response, of which one in six is a bad one."""

LONG = 40 if SHORT else 150
"""Tokens of a response that crosses many boundaries of the smallest blocks."""

CHUNKED = {"max_num_batched_tokens": 64, "block_size": SMALLEST, "max_num_seqs": 5}
"""Prompts arrive in chunks and in turns, so prefill and decode rows share every early step."""

CROWDING = 48 if SHORT else 120
"""Tokens of responses that outgrow the cache of :data:`TIGHT` together, and not alone."""

TIGHT = {
    **CHUNKED,
    "max_model_len": 288 if SHORT else 512,
    CACHE_TOKENS: 320 if SHORT else 544,  # one sequence of any length fits, with a slot more
    "disable_log_stats": False,
}
"""A cache so small that requests are preempted, which is counted."""

PROMPT_LENGTHS = (3, 16, 15, 33, 64, 100, 17, 150, 48, 5, 31, 32)
"""Below, at and above block boundaries of 16, and longer than one chunk of prefill."""


def prompts() -> list[list[int]]:
    """More prompts than the suite's engines run at a time."""
    draw = random.Random(11)  # noqa: S311  (test data)
    return [[draw.randrange(FIRST_WORD, VOCABULARY) for _ in range(n)] for n in PROMPT_LENGTHS]


def greedy(max_tokens: int = USUAL, **extra_args: object) -> list[Request]:
    """Greedy requests of all prompt lengths."""
    params = {"temperature": 0.0, "max_tokens": max_tokens, "extra_args": extra_args}
    return [Request(prompt, params) for prompt in prompts()]


def sampled(max_tokens: int = USUAL) -> list[Request]:
    """Seeded requests, each with another mix of sampling features."""
    mixes: tuple[dict[str, Any], ...] = (
        {"temperature": 1.0, "top_p": 0.9},
        {"temperature": 1.3, "top_k": 40, "min_p": 0.01},
        {"temperature": 0.7, "presence_penalty": 0.3, "frequency_penalty": 0.2},
        {"temperature": 1.0, "repetition_penalty": 1.2, "logprobs": 3},
        {"temperature": 1.0, "logit_bias": {"40": 3.0}, "bad_words": ["w050"]},
        {"temperature": 0.0, "min_tokens": 20},
    )
    if INTERPRETED:  # the kernel of top-k and top-p cannot be
        mixes = tuple(
            {k: v for k, v in mix.items() if k not in {"top_k", "top_p"}} for mix in mixes
        )
    return [
        Request(prompt, {**mixes[i % len(mixes)], "seed": 100 + i, "max_tokens": max_tokens})
        for i, prompt in enumerate(prompts())
    ]


def seeded(count: int, **params: object) -> list[Request]:
    """Hot requests, each with a seed of its own."""
    base = {"temperature": 1.5, "max_tokens": USUAL, **params}
    own = prompts()
    return [Request(own[i % len(own)], {**base, "seed": i}) for i in range(count)]


SEEDED = [request for request in sampled(LONG) if request.params["temperature"] > 0]
"""vLLM's CPU sampler draws a batch without its seeds as soon as one request has none."""

MANY_CANDIDATES = {"vfd_num_candidates": 40}
"""As ``extra_args``: so many that one of them is acceptable."""
