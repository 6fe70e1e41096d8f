"""The seams are transparent until a decision is armed, and then act exactly once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from value_steer.engine import hooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class Sampler:
    """A host's sampler."""

    logprobs_mode = "raw_logprobs"

    def __call__(self, logits: Tensor, sampling_metadata: object) -> str:
        """Sample."""
        del logits, sampling_metadata
        return "natural"


class Model:
    """A host's model."""

    def compute_logits(self, hidden_states: Tensor) -> Tensor:
        """Project."""
        return hidden_states * 2


def _runner() -> Any:
    model = Model()
    return SimpleNamespace(sampler=Sampler(), model=model, get_model=lambda: model)


def _decider(seen: list[Tensor | None]) -> hooks.Decider:
    def decide(sample: Callable[[], Any], logits: Tensor, feature: Tensor | None) -> Any:
        seen.extend((logits, feature))
        return f"steered {sample()}"

    return decide


def test_unarmed_hooks_are_transparent() -> None:
    """Warm-up and profiling runs go through untouched, and attributes are the host's own."""
    runner = _runner()
    hooks.install(runner)

    assert runner.sampler(logits=torch.zeros(1), sampling_metadata=None) == "natural"
    assert runner.sampler.logprobs_mode == "raw_logprobs"
    assert torch.equal(runner.model.compute_logits(torch.ones(2)), torch.full((2,), 2.0))


def test_an_armed_decision_sees_feature_and_logits_once() -> None:
    """The decider gets what compute_logits consumed and the logits, on one call only."""
    runner = _runner()
    seen: list[Tensor | None] = []
    sampler = hooks.install(runner).sampler
    feature = torch.ones(1, 3)
    logits = runner.model.compute_logits(feature)
    sampler.arm(_decider(seen))

    first = runner.sampler(logits, None)
    second = runner.sampler(logits=logits, sampling_metadata=None)

    assert (first, second) == ("steered natural", "natural")
    assert seen[0] is logits
    assert seen[1] is feature


def test_the_decider_can_ask_what_else_the_sampler_was_given() -> None:
    """Positional arguments behind the logits; those of an unarmed call are not kept."""
    runner = _runner()
    sampler = hooks.install(runner).sampler
    batch, other = object(), object()
    found = []

    def decide(sample: Callable[[], Any], logits: Tensor, feature: Tensor | None) -> Any:
        del logits, feature
        found.append(sampler.arguments)
        return sample()

    sampler.arm(decide)
    runner.sampler(torch.zeros(1), batch)
    runner.sampler(torch.zeros(1), other)

    assert found == [(batch,)]
    assert sampler.arguments == (batch,)

    sampler.arm(decide)
    runner.sampler(logits=torch.zeros(1), sampling_metadata=batch)
    assert found[1] == ()


def test_a_feature_is_never_used_twice() -> None:
    """If the logits of a step were computed elsewhere, the last step's feature is not taken."""
    runner = _runner()
    seen: list[Tensor | None] = []
    sampler = hooks.install(runner).sampler
    logits = runner.model.compute_logits(torch.ones(1, 3))
    for _ in range(2):
        sampler.arm(_decider(seen))
        runner.sampler(logits, None)

    assert seen[3] is None


def test_logits_are_held_back_while_tokens_are_on_trial() -> None:
    """The hidden states are kept, and the logits computed from them when they are wanted."""
    runner = _runner()
    tap = hooks.install(runner).tap
    feature = torch.ones(1, 3)
    tap.holding = True

    assert runner.model.compute_logits(feature) is None
    assert tap.feature is feature

    tap.holding = False
    assert torch.equal(runner.model.compute_logits(feature), feature * 2)
