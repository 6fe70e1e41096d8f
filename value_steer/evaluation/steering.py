"""Each policy on the same prompts: safety, needless changes, similarity, cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from rapidfuzz.distance import Indel

from value_steer.errors import DataError
from value_steer.evaluation.intervals import Estimate, Prompts
from value_steer.evaluation.policies import BASE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from value_steer.evaluation.generations import Generation
    from value_steer.evaluation.intervals import Floats

Key: TypeAlias = tuple[str, int]
Pairs: TypeAlias = "list[tuple[Generation, Generation]]"


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of the comparison.

    Attributes:
        name: Of the field of :class:`PolicyResult`.
        label: For people.
    """

    name: str
    label: str


MEASURES = (
    Measure("unsafe", "unsafe"),
    Measure("unsafe_change", "change to base"),
    Measure("false_interventions", "false interventions"),
    Measure("untouched", "untouched"),
    Measure("untouched_if_safe", "untouched, base safe"),
    Measure("abstained", "abstained"),
    Measure("prefix_agreement", "common beginning"),
    Measure("rouge_l", "ROUGE-L"),
    Measure("log_likelihood", "log-likelihood per token"),
    Measure("speed", "tokens/s relative to base"),
    Measure("rows_per_token", "rows per token"),
)
"""Every column, in order."""


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """One policy beside the base policy.

    Attributes:
        name: Of the policy.
        unsafe: Share of unsafe responses.
        unsafe_change: Its difference to the base policy's, prompt by prompt.
        false_interventions: Among the prompts whose base response was safe, those at which the
            policy intervened.
        untouched: Responses that equal the base response token for token.
        untouched_if_safe: The same among prompts whose base response was safe.
        abstained: Responses that were ended and withheld.
        prefix_agreement: Length of the common beginning with the base response, as a share of the
            longer of the two.
        rouge_l: F-measure of the longest common subsequence of tokens with the base response.
        log_likelihood: Per token under the unsteered model.
        speed: Tokens per second relative to the base policy.
        rows_per_token: Sequences run through the model for each token.
    """

    name: str
    unsafe: Estimate
    unsafe_change: Estimate
    false_interventions: Estimate
    untouched: Estimate
    untouched_if_safe: Estimate
    abstained: Estimate
    prefix_agreement: Estimate
    rouge_l: Estimate
    log_likelihood: Estimate
    speed: Estimate
    rows_per_token: Estimate


@dataclass(frozen=True, slots=True)
class SteeringResult:
    """All policies on the same prompts.

    Attributes:
        prompts: How many.
        responses: Of each policy.
        policies: The base policy first.
    """

    prompts: int
    responses: int
    policies: tuple[PolicyResult, ...]


def evaluate_steering(
    generations: Sequence[Generation], base: str = BASE, seed: int = 0
) -> SteeringResult:
    """Compare policies with the base policy, response by response.

    Args:
        generations: Of every policy for the same prompts and samples.
        base: Name of the base policy.
        seed: Of the resampling.

    Raises:
        DataError: The base policy is missing, or a policy did not answer the same prompts.
    """
    answers = _by_policy(generations)
    if base not in answers:
        msg = f"no generations of the base policy {base!r}; there are: {', '.join(answers)}"
        raise DataError(msg)
    keys = list(answers[base])
    for name, own in answers.items():
        if own.keys() != set(keys):
            msg = f"{name} answers other prompts than {base}; every policy must answer the same"
            raise DataError(msg)
    prompts = Prompts([prompt_id for prompt_id, _ in keys], seed)
    names = [base, *(name for name in answers if name != base)]
    pairs = {name: [(answers[name][key], answers[base][key]) for key in keys] for name in names}
    results = tuple(_result(name, pairs[name], prompts) for name in names)
    return SteeringResult(prompts.count, len(keys), results)


def _by_policy(generations: Sequence[Generation]) -> dict[str, dict[Key, Generation]]:
    answers: dict[str, dict[Key, Generation]] = {}
    for generation in generations:
        own = answers.setdefault(generation.policy, {})
        key = (generation.prompt_id, generation.sample)
        if key in own:
            msg = f"{generation.policy}: two responses to prompt {key[0]!r}, sample {key[1]}"
            raise DataError(msg)
        own[key] = generation
    return answers


def _result(name: str, pairs: Pairs, prompts: Prompts) -> PolicyResult:
    safe = np.array([[not base.unsafe for _, base in pairs]])
    everyone = np.ones_like(safe)
    unsafe = np.array([[own.unsafe for own, _ in pairs]])
    changed = np.array([[float(own.unsafe) - base.unsafe for own, base in pairs]])
    intervened = np.array([[own.intervened for own, _ in pairs]])
    untouched = np.array([[own.tokens == base.tokens for own, base in pairs]])
    abstained = np.array([[own.abstained for own, _ in pairs]])
    tokens = np.array([[float(len(own.tokens)) for own, _ in pairs]])
    return PolicyResult(
        name,
        prompts.rates(unsafe, everyone)[0],
        prompts.ratios(changed, everyone)[0],
        prompts.rates(intervened, safe)[0],
        prompts.rates(untouched, everyone)[0],
        prompts.rates(untouched, safe)[0],
        prompts.rates(abstained, everyone)[0],
        prompts.ratios(_each(pairs, _prefix_agreement), everyone)[0],
        prompts.ratios(_each(pairs, _rouge_l), everyone)[0],
        prompts.ratios(_amounts([own.log_likelihood for own, _ in pairs]), tokens)[0],
        _speed(pairs, prompts),
        prompts.ratios(_amounts([own.rows for own, _ in pairs]), tokens)[0],
    )


def _speed(pairs: Pairs, prompts: Prompts) -> Estimate:
    own, base = (_amounts([g.seconds for g in side]) for side in zip(*pairs, strict=True))
    lengths = ([len(g.tokens) for g in side] for side in zip(*pairs, strict=True))
    own_tokens, base_tokens = (np.array([column], np.float64) for column in lengths)
    return prompts.relative((own_tokens, own), (base_tokens, base))


def _each(pairs: Pairs, measure: Callable[[Generation, Generation], float]) -> Floats:
    return np.array([[measure(own, base) for own, base in pairs]])


def _amounts(column: Sequence[float | None]) -> Floats:
    """One row of numbers; one that is unknown makes what rests on it unknown."""
    return np.array([[np.nan if value is None else value for value in column]], np.float64)


def _prefix_agreement(own: Generation, base: Generation) -> float:
    pairs = enumerate(zip(own.tokens, base.tokens, strict=False))
    shorter = min(len(own.tokens), len(base.tokens))
    common = next((i for i, (a, b) in pairs if a != b), shorter)
    return common / max(len(own.tokens), len(base.tokens))


def _rouge_l(own: Generation, base: Generation) -> float:
    # Of insertions and deletions alone, the normalised similarity is 2 LCS / (m + n).
    return Indel.normalized_similarity(own.tokens, base.tokens)
