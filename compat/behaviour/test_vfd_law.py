"""The law of the committed token is the filtered policy's, measured against exact enumeration."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from compat.behaviour import batches
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.messages import EngineSpec, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from compat.behaviour.engines import EnginePool, PlainEngine

pytestmark = [pytest.mark.mode("vfd"), pytest.mark.depth("equal")]

_ALLOWED = 12
_SAMPLING = {"temperature": 1.0, "max_tokens": 1}
_SEEDS = 1000 if batches.SHORT else 3000
"""Interpreted, to admit a request takes longer than to answer it."""
_Z = 3.719
"""The normal quantile of the false-alarm level of the test below: one run in 10,000."""

BAD = -1
"""All bad tokens together."""


@pytest.mark.detects_dead
@pytest.mark.parametrize("candidates", [2, 4])
def test_the_committed_token_follows_the_filtered_policy(
    candidates: int, pool: EnginePool, plain: PlainEngine, recognising_head: Callable[[str], str]
) -> None:
    """One decode position over many seeds: each good token as often as the first good draw is.

    With a share b of bad tokens in the policy, a good token t of probability q is the first good
    one among K draws with probability q (1 + b + ... + b^(K-1)), and none is with b^K.
    """
    # Where nearly all tokens are bad, few draws make little difference.
    prompt, policy = min(_policies(plain), key=lambda row: abs(_bad_share(row[1]) - 0.5))
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    engine = pool.get(EngineSpec(vfd=vfd, options={"max_num_seqs": 64}))
    own = {"vfd_num_candidates": candidates}
    sampling = {**_SAMPLING, "allowed_token_ids": list(policy), "extra_args": own}

    answers = engine.generate(
        [Request(prompt, {**sampling, "seed": seed}) for seed in range(_SEEDS)]
    )

    drawn = [answer.tokens[0] for answer in answers]
    observed = Counter(BAD if token in BAD_TOKENS else token for token in drawn)
    bad = _bad_share(policy)
    boost = sum(bad**draw for draw in range(candidates))
    law = {token: q * boost for token, q in policy.items() if token not in BAD_TOKENS}
    law[BAD] = bad**candidates
    assert 0.2 < bad < 0.8
    assert sum(law.values()) == pytest.approx(1.0)
    assert set(observed) <= set(law)
    assert _chi_square(observed, law) < _quantile(len(law) - 1)


def _policies(plain: PlainEngine) -> list[tuple[list[int], dict[int, float]]]:
    """Prompts, and the distribution of the token after each."""
    prompts = batches.prompts()
    batch = [
        Request(prompt, {"temperature": 0.0, "max_tokens": 1, "logprobs": 20}) for prompt in prompts
    ]
    return [
        (prompt, _top(answer.logprobs[0]))
        for prompt, answer in zip(prompts, plain.generate(batch), strict=True)
        if answer.logprobs
    ]


def _top(row: dict[str, float]) -> dict[int, float]:
    best = sorted(row.items(), key=lambda item: -item[1])[:_ALLOWED]
    mass = sum(math.exp(logprob) for _, logprob in best)
    return {int(token): math.exp(logprob) / mass for token, logprob in best}


def _bad_share(policy: dict[int, float]) -> float:
    return sum(q for token, q in policy.items() if token in BAD_TOKENS)


def _chi_square(observed: Counter[int], law: dict[int, float]) -> float:
    return sum((observed[token] - _SEEDS * q) ** 2 / (_SEEDS * q) for token, q in law.items())


def _quantile(degrees: int) -> float:
    """The chi-square quantile at ``_Z`` (Wilson and Hilferty's approximation)."""
    spread = 2 / (9 * degrees)
    return degrees * (1 - spread + _Z * math.sqrt(spread)) ** 3
