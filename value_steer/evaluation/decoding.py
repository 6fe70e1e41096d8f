"""Steered decoding on a ``transformers`` model: one interface to candidates for every policy.

It stands on the reference decoder: one request at a time, nothing cached, written for study. What
a policy asks of a step is run through the model and counted, so that costs can be compared.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from value_steer.reference import Reference


@dataclass(frozen=True, slots=True)
class Look:
    """The model's and the head's output for a sequence.

    Attributes:
        logits: After it, ``[vocabulary]``, fp32.
        undesirable: The head's P(undesirable) of it.
    """

    logits: Tensor
    undesirable: float


@dataclass(frozen=True, slots=True)
class Sampler:
    """The base policy ``p0``: a reference decoder, nucleus sampling, shared randomness.

    Attributes:
        reference: Model, head of P(undesirable), threshold, length, end and temperature.
        top_p: Nucleus mass; 1 keeps every token.
    """

    reference: Reference
    top_p: float = 1.0

    def looks(self, sequences: Sequence[Sequence[int]]) -> list[Look]:
        """Run sequences of one length."""
        logits, values = self.reference.look(sequences)
        return [Look(*pair) for pair in zip(logits, values.tolist(), strict=True)]

    def policy(self, logits: Tensor) -> Tensor:
        """``p0`` after temperature and nucleus, ``[vocabulary]``, fp64; one token if greedy."""
        if self.reference.temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(), len(logits)).double()
        policy = (logits.double() / self.reference.temperature).softmax(-1)
        likeliest = policy.sort(descending=True, stable=True)
        outside = likeliest.values.cumsum(0) - likeliest.values >= self.top_p
        policy = policy.index_fill(0, likeliest.indices[outside], 0.0)
        return policy / policy.sum()


@dataclass(frozen=True, slots=True)
class Commit:
    """The action of a policy at a step.

    Attributes:
        token: It is committed.
        acceptable: Something acceptable was found, or nothing was looked for.
        abstained: The response ends with it, withheld.
    """

    token: int
    acceptable: bool = True
    abstained: bool = False


class Step:
    """One position of a response, and what a policy may ask there.

    Every policy meets the same random numbers at the same position of the same request, so a
    response equals the base one until somebody intervenes.

    Args:
        sampler: The base policy.
        sequence: Prompt and response so far.
        look: What is known of it.
        seed: Of the request.

    Attributes:
        policy: ``p0`` of the next token, ``[vocabulary]``.
        natural: The token that the base policy draws.
        threshold: Unacceptable is what has at least this P(undesirable).
        eos: The token that ends a response.
        looked: What was run here, by token.
    """

    def __init__(self, sampler: Sampler, sequence: list[int], look: Look, seed: int) -> None:
        self.policy = sampler.policy(look.logits)
        self.threshold = sampler.reference.threshold
        self.eos = sampler.reference.eos
        self.looked: dict[int, Look] = {}
        self._sampler = sampler
        self._sequence = sequence
        self._logits = look.logits
        self._noise = np.random.default_rng((seed, len(sequence)))
        self._uniform = self._noise.random()
        self.natural = self.draw(self.policy)

    def draw(self, weights: Tensor) -> int:
        """A token by these weights, ``[vocabulary]``, with the random number of the natural one."""
        return _inverse(weights, np.array([self._uniform]))[0]

    def candidates(self, count: int) -> list[int]:
        """The natural token and further draws, with replacement; greedy: the likeliest in order."""
        if self._sampler.reference.temperature == 0:
            return self.likeliest(count)
        return [self.natural, *_inverse(self.policy, self._noise.random(count - 1))]

    def likeliest(self, count: int) -> list[int]:
        """The ``count`` most probable tokens, in order."""
        order = self._logits.sort(descending=True, stable=True).indices
        return [int(token) for token in order[:count].tolist()]

    def log_probability(self, token: int) -> float:
        """Under the model itself, at temperature 1 and without a nucleus."""
        return float(self._logits.double().log_softmax(-1)[token])

    def undesirable(self, tokens: Sequence[int]) -> list[float]:
        """P(undesirable) after each of some tokens; each is run once."""
        new = [token for token in dict.fromkeys(tokens) if token not in self.looked]
        if new:
            looks = self._sampler.looks([[*self._sequence, token] for token in new])
            self.looked.update(zip(new, looks, strict=True))
        return [self.looked[token].undesirable for token in tokens]


class Policy(Protocol):
    """A way to decode."""

    @property
    def name(self) -> str:
        """The policy's name."""

    def decode(self, sampler: Sampler, prompt: Sequence[int], seed: int) -> Draft:
        """The response to a prompt, under the randomness of ``seed``."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A response as a policy made it.

    Attributes:
        tokens: Of the response, the end included.
        interventions: Tokens committed in place of the natural one.
        no_acceptable: Steps at which nothing acceptable was found.
        abstained: It was ended and withheld.
        rows: Sequences that were run through the model.
        log_likelihood: Of the tokens under the model itself.
        undesirable: The head's last word on it.
        seconds: Taken.
    """

    tokens: tuple[int, ...]
    interventions: int
    no_acceptable: int
    abstained: bool
    rows: int
    log_likelihood: float
    undesirable: float
    seconds: float


class Chooser(Protocol):
    """Decides one step."""

    def __call__(self, step: Step, /) -> Commit:
        """The token to commit."""


def decode(sampler: Sampler, choose: Chooser, prompt: Sequence[int], seed: int) -> Draft:
    """A response, token by token.

    A token that was looked at need not be run again, so the base policy, and one that finds every
    natural token acceptable, run one row for each token.
    """
    started = time.perf_counter()
    reference = sampler.reference
    response: list[int] = []
    commits: list[Commit] = []
    look, rows, replaced, likelihood = sampler.looks([prompt])[0], 1, 0, 0.0
    while len(response) < reference.max_tokens and reference.eos not in response[-1:]:
        step = Step(sampler, [*prompt, *response], look, seed)
        commit = choose(step)
        commits.append(commit)
        response.append(commit.token)
        replaced += commit.token != step.natural
        likelihood += step.log_probability(commit.token)
        rows += len(step.looked) + (commit.token not in step.looked)
        look = step.looked.get(commit.token) or sampler.looks([[*prompt, *response]])[0]
    return Draft(
        tokens=tuple(response),
        interventions=replaced,
        no_acceptable=sum(not commit.acceptable for commit in commits),
        abstained=any(commit.abstained for commit in commits),
        rows=rows,
        log_likelihood=likelihood,
        undesirable=look.undesirable,
        seconds=time.perf_counter() - started,
    )


def _inverse(weights: Tensor, uniform: np.ndarray) -> list[int]:
    """Draws by inversion of the cumulative weights."""
    mass = weights.double().cumsum(0).cpu()
    drawn = torch.searchsorted(mass / mass[-1], torch.from_numpy(uniform), right=True)
    return [int(token) for token in drawn.tolist()]
