"""Sampling features together with steering: what the host keeps of tokens is what was given out."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from compat.behaviour import batches
from compat.behaviour.engines import EngineFailedError
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.messages import EngineSpec, Request
from compat.behaviour.oracle import ended_at_first_bad, logits
from compat.behaviour.tiny_models import EOS, FIRST_WORD, SECOND_EOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from compat.behaviour.engines import Engine, EnginePool, PlainEngine

pytestmark = pytest.mark.depth("equal")

_SEVERAL = [
    Request(prompt, {"n": 3, "seed": 40 + i, "temperature": 1.2, "max_tokens": 12 + 3 * i})
    for i, prompt in enumerate(batches.prompts()[:6])
]
"""More answers than run at a time, some of them of the same length."""


def _tokens(answers: list[list[Any]]) -> list[list[list[int]]]:
    return [[answer.tokens for answer in of_one] for of_one in answers]


@pytest.mark.mode("vfd")
@pytest.mark.detects_dead
def test_several_answers_to_a_prompt_are_filtered_each(
    pool: EnginePool, filtering: Engine, plain: PlainEngine, constant_head: Callable[[float], str]
) -> None:
    """None holds a bad token; with a head that never objects they are plain vLLM's."""
    never = pool.get(EngineSpec(vfd={"value_head_path": constant_head(0.9), "threshold": 0.5}))
    asked = [
        Request(r.prompt, {**r.params, "extra_args": batches.MANY_CANDIDATES}) for r in _SEVERAL
    ]
    natural = _tokens(plain.generate_many(_SEVERAL))

    assert _tokens(never.generate_many(_SEVERAL)) == natural
    filtered = _tokens(filtering.generate_many(asked))

    def bad(of_all: list[list[list[int]]]) -> int:
        return sum(token in BAD_TOKENS for one in of_all for answer in one for token in answer)

    assert bad(filtered) == 0 < bad(natural)
    assert [len(one) for one in filtered] == [3] * len(_SEVERAL)


@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
def test_several_answers_to_a_prompt_are_ended_each(
    pool: EnginePool, plain: PlainEngine, recognising_head: Callable[[str], str]
) -> None:
    """Each at its own first bad token."""
    section = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    engine = pool.get(EngineSpec(abstain=section))
    natural = _tokens(plain.generate_many(_SEVERAL))

    answers = _tokens(engine.generate_many(_SEVERAL))

    assert answers == [[ended_at_first_bad(tokens) for tokens in one] for one in natural]
    assert answers != natural


_NO_NAMED = (
    "Unexpected keyword argument 'logprob_token_ids'",
    "'function' object is not subscriptable",
)


@pytest.fixture(scope="module")
def named_logprobs(pool: EnginePool) -> dict[str, Any]:
    """How plain vLLM is asked for the log-probabilities of tokens.

    Those of the most probable ones in releases that do not give those of named ones: 0.19 does not
    know the parameter, and the CPU builds of 0.20 and 0.21 lack the kernel for it.
    """
    named = {"logprob_token_ids": [40, 41]}
    request = Request([9, 10], {"temperature": 0.0, "max_tokens": 1, **named})
    try:
        pool.get(EngineSpec()).generate([request])
    except EngineFailedError as failed:
        if not any(said in str(failed) for said in _NO_NAMED):
            raise
        pool.discard(EngineSpec())  # it may be left with the request
        return {"logprobs": 2}
    return named


# Where tokens are favoured that were given out before, a response that forgets one is another.
@pytest.mark.mode("vfd")
@pytest.mark.mode("abstain")
@pytest.mark.detects_dead
@pytest.mark.parametrize("mode", ["abstain", "vfd"])
def test_log_probabilities_of_named_tokens_are_those_of_what_is_given_out(
    mode: str,
    pool: EnginePool,
    recognising_head: Callable[[str], str],
    named_logprobs: dict[str, Any],
) -> None:
    """That of the token itself is among them, a finite one."""
    section = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    spec = EngineSpec(abstain=section) if mode == "abstain" else EngineSpec(vfd=section)
    engine = pool.get(spec)
    batch = batches.greedy(12)

    answers = engine.generate([Request(r.prompt, {**r.params, **named_logprobs}) for r in batch])

    assert [a.tokens for a in answers] == [a.tokens for a in engine.generate(batch)]
    for answer in answers:
        rows = zip(answer.tokens, answer.logprobs or [], strict=True)
        assert all(-100.0 < row[str(token)] <= 0.0 for token, row in rows)
    ended = [a for a in answers if a.stop_reason == "value_steer:abstained"]
    assert bool(ended) is (mode == "abstain")
    assert (mode == "vfd") is (engine.counters()["interventions"] > 0)


_MIXES: dict[str, dict[str, Any]] = {
    "presence": {"presence_penalty": -2.0},
    "frequency": {"frequency_penalty": -1.0},
    "repetition": {"repetition_penalty": 0.6},
    "all": {
        "presence_penalty": -1.0,
        "frequency_penalty": 0.3,
        "repetition_penalty": 0.8,
        "logit_bias": {"40": 3.0, "41": -2.0},
        "min_tokens": 10,
    },
}


@pytest.fixture(scope="module")
def late_end(pool: EnginePool) -> int:
    """Tokens beyond ``min_tokens`` for which plain vLLM still holds the end back.

    One where Model Runner V2 of 0.23 schedules asynchronously; ``min_tokens`` are meant to be all.
    """
    least = 5
    params = {"temperature": 0.0, "max_tokens": 20, "min_tokens": least}
    ending = Request([9, 10], {**params, "logit_bias": {str(EOS): 100.0}})
    (answer,) = pool.get(EngineSpec()).generate([ending])
    assert answer.tokens[-1] == EOS
    late = len(answer.tokens) - 1 - least
    assert late in (0, 1)
    return late


@pytest.mark.mode("vfd")
@pytest.mark.detects_dead
@pytest.mark.parametrize("params", [*_MIXES.values()], ids=[*_MIXES])
def test_penalties_see_the_tokens_that_were_given_out(
    params: dict[str, Any],
    filtering: Engine,
    model_of: Callable[[str], Path],
    late_end: int,
) -> None:
    """A response is the best acceptable one of the distributions that it implies itself."""
    _assert_best(_filtered_requests(**params), filtering, model_of("mistral"), late_end)


@pytest.mark.mode("vfd")
@pytest.mark.detects_dead
def test_bad_words_see_the_tokens_that_were_given_out(
    filtering: Engine, model_of: Callable[[str], Path]
) -> None:
    """A pair of tokens is forbidden after the first was put in place of another one."""
    batch = _filtered_requests()
    pairs = [
        [f"w{a:03} w{b:03}" for a, b in itertools.pairwise(answer.tokens) if b >= FIRST_WORD]
        for answer in filtering.generate(batch)
    ]
    forbidding = [
        Request(r.prompt, {**r.params, "bad_words": own})
        for r, own in zip(batch, pairs, strict=True)
    ]

    _assert_best(forbidding, filtering, model_of("mistral"))


@pytest.mark.mode("vfd")
@pytest.mark.detects_dead
@pytest.mark.parametrize("params", [*_MIXES.values()], ids=[*_MIXES])
def test_penalties_do_not_see_a_token_that_was_refused(
    params: dict[str, Any],
    pool: EnginePool,
    model_of: Callable[[str], Path],
    constant_head: Callable[[float], str],
    late_end: int,
) -> None:
    """One that would be accepted later: it was refused as a test, not for what it is."""
    engine = pool.get(EngineSpec(vfd={"value_head_path": constant_head(0.9), "threshold": 0.5}))
    own = {
        **params,
        "allowed_token_ids": [EOS, *range(100, 112)],  # so few that they come again
        "extra_args": {"steer_test": "intervene"},
        "max_tokens": batches.USUAL // 2,
    }
    batch = [Request(r.prompt, {**r.params, **own}) for r in batches.greedy()]

    answers = [answer.tokens for answer in engine.generate(batch)]

    expected, other = [], 0
    for request, tokens in zip(batch, answers, strict=True):
        rows = logits(model_of("mistral"), request.prompt, tokens)
        refused, first = _processed(rows[0], request, [], late_end).topk(2).indices.tolist()
        best = [
            int(_processed(row, request, tokens[:i], late_end).argmax())
            for i, row in enumerate(rows)
        ]
        expected.append([first, *best[1:]])
        other += best[1:] != [
            int(_processed(row, request, [refused, *tokens[:i]], late_end).argmax())
            for i, row in enumerate(rows[1:], start=1)
        ]
    assert answers == expected
    assert other > 0


def _filtered_requests(**params: object) -> list[Request]:
    own = {"extra_args": batches.MANY_CANDIDATES, **params}
    return [
        Request(r.prompt, {**r.params, **own, "max_tokens": batches.USUAL // 2 + i})
        for i, r in enumerate(batches.greedy())
    ]


def _assert_best(batch: list[Request], filtering: Engine, model: Path, late_end: int = 0) -> None:
    before = filtering.counters()["interventions"]

    answers = [answer.tokens for answer in filtering.generate(batch)]

    assert filtering.counters()["interventions"] > before
    expected, other = [], 0
    for request, tokens in zip(batch, answers, strict=True):
        natural: list[int] = []
        best: list[int] = []
        for i, row in enumerate(logits(model, request.prompt, tokens)):
            processed = _processed(row, request, tokens[:i], late_end)
            best.append(_best(processed))
            # Had the refused tokens been booked.
            other += _best(_processed(row, request, natural, late_end)) != best[-1]
            natural.append(int(processed.argmax()))
        expected.append(best)
    assert answers == expected
    assert other > 0


def _best(processed: Tensor) -> int:
    """The first acceptable token in the order of probability."""
    return next(t for t in processed.argsort(descending=True).tolist() if t not in BAD_TOKENS)


def _processed(row: Tensor, request: Request, given: list[int], late_end: int) -> Tensor:
    """The logits after the penalties, as vLLM documents them, but for a late end."""
    import torch

    params, row = request.params, row.clone()
    for token, bias in params.get("logit_bias", {}).items():
        row[int(token)] += bias
    if "min_tokens" in params and len(given) < params["min_tokens"] + late_end:
        row[[EOS, SECOND_EOS]] = -torch.inf
    if "allowed_token_ids" in params:
        forbidden = torch.ones_like(row, dtype=torch.bool)
        forbidden[params["allowed_token_ids"]] = False
        row[forbidden] = -torch.inf
    last = f"w{given[-1]:03} " if given else "nothing"
    ends = [int(pair[6:]) for pair in params.get("bad_words", ()) if pair.startswith(last)]
    row[ends] = -torch.inf
    seen = sorted({*request.prompt, *given})
    factor = params.get("repetition_penalty", 1.0)
    row[seen] = torch.where(row[seen] > 0, row[seen] / factor, row[seen] * factor)
    counts = torch.bincount(torch.tensor(given, dtype=torch.long), minlength=len(row))
    row -= params.get("frequency_penalty", 0.0) * counts
    row -= params.get("presence_penalty", 0.0) * (counts > 0)
    return row
