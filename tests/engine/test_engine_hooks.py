"""The seams are transparent until a decision is armed, and then act exactly once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from value_steer.engine import hooks
from value_steer.errors import SteeringError

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

    def compute_logits(self, hidden_states: Tensor, scale: int = 2, shift: int = 0) -> Tensor:
        """Project."""
        return hidden_states * scale + shift


class Runner:
    """A host's model runner.

    Attributes:
        ran: The steps that it has run, ``None`` for a dummy one.
        given: What it was given with each of them.
        grammars: What it was given to sample with.
    """

    def __init__(self) -> None:
        self.sampler: Any = Sampler()
        self.model = Model()
        self.ran: list[Any] = []
        self.given: list[Any] = []
        self.grammars: list[Any] = []

    def get_model(self) -> Model:
        """The model."""
        return self.model

    def execute_model(
        self,
        scheduler_output: Any,
        intermediate_tensors: Any = None,
        dummy_run: bool = False,  # noqa: FBT001, FBT002  (as the host has it)
    ) -> None:
        """Run a step."""
        self.given.append(intermediate_tensors)
        self.ran.append(None if dummy_run else scheduler_output)

    def sample_tokens(self, grammar_output: object) -> str:
        """Sample the step."""
        self.grammars.append(grammar_output)
        logits: str = self.sampler(logits=torch.zeros(1), sampling_metadata=None)
        return logits


def _runner() -> Any:
    return Runner()


class Follower:
    """Follows steps, and says how each is to be run."""

    def __init__(self, sampler: hooks.SteeredSampler) -> None:
        self.told: list[Any] = []
        self._sampler = sampler

    def begin(self, step: Any) -> Any:
        """Note a step, and arm a decision for it."""
        self.told.append(step)
        self._sampler.arm(lambda sample, logits, feature: f"steered {sample()}")  # noqa: ARG005
        return f"{step}, corrected"

    def end(self, output: Any) -> Any:
        """Note an output."""
        return f"{output}, ended"


def test_a_step_is_followed_from_its_first_call_to_its_last() -> None:
    """It runs as the follower says, the decision acts, and the output goes through the follower."""
    runner = _runner()
    installed = hooks.install(runner)
    follower = Follower(installed.sampler)
    installed.calls.follow(follower)

    runner.execute_model("a step")

    assert runner.sample_tokens(None) == "steered natural, ended"
    assert (follower.told, runner.ran) == (["a step"], ["a step, corrected"])


def test_a_step_is_run_with_all_that_the_host_gives_it() -> None:
    """By position or by name, as its executors differ."""
    runner = _runner()
    installed = hooks.install(runner)
    installed.calls.follow(Follower(installed.sampler))

    runner.execute_model("a step", "of a stage")
    runner.sample_tokens("a grammar")
    runner.execute_model("another", intermediate_tensors="by name")
    runner.sample_tokens(grammar_output="by name")
    runner.execute_model("a third", None, False)  # noqa: FBT003

    assert runner.given == ["of a stage", "by name", None]
    assert runner.grammars == ["a grammar", "by name"]
    assert runner.ran == ["a step, corrected", "another, corrected", "a third, corrected"]


def test_what_was_put_in_is_known() -> None:
    """And so is what it stands in for."""
    runner = _runner()
    sampler = runner.sampler

    installed = hooks.install(runner)

    assert installed.host_sampler is sampler
    assert installed.sampler is runner.sampler
    assert installed.tap is runner.model.compute_logits


def test_warm_up_and_dummy_steps_go_through_unseen() -> None:
    """Before anybody follows, and with ``dummy_run`` by position or by name."""
    runner = _runner()
    installed = hooks.install(runner)
    runner.execute_model("warm-up")
    assert runner.sample_tokens(None) == "natural"
    follower = Follower(installed.sampler)
    installed.calls.follow(follower)

    runner.execute_model("dummy", None, True)  # noqa: FBT003
    runner.execute_model("dummy", dummy_run=True)
    runner.execute_model("real", intermediate_tensors=None)

    assert follower.told == ["real"]
    assert runner.ran == ["warm-up", None, None, "real, corrected"]


def test_a_batch_of_a_step_that_was_not_followed_is_refused() -> None:
    """Serving it unsteered is what nobody asked for; a decision of another step does not act."""
    runner = _runner()
    installed = hooks.install(runner)
    installed.calls.follow(Follower(installed.sampler))
    runner.execute_model("a step")
    runner.sample_tokens(None)
    installed.calls.execute("past the seam")

    with pytest.raises(SteeringError) as caught:
        runner.sample_tokens(None)

    assert str(caught.value) == (
        "a batch is sampled of which value-steer was not told, so it would be served unsteered: "
        "this executor does not go through the model runner's execute_model and sample_tokens. "
        "Run value-steer-compat to see which vLLM internal moved"
    )
    installed.calls.follow(None)
    assert runner.sample_tokens(None) == "natural"


def test_what_was_armed_for_a_step_without_a_sample_acts_on_no_other() -> None:
    """A step may end before its batch is sampled."""
    runner = _runner()
    installed = hooks.install(runner)
    installed.calls.follow(Follower(installed.sampler))
    runner.execute_model("a step")
    runner.sampler, kept = SimpleNamespace(), runner.sampler
    with pytest.raises(TypeError):
        runner.sample_tokens(None)
    runner.sampler = kept

    with pytest.raises(SteeringError):
        runner.sample_tokens(None)


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


def test_logits_are_computed_as_the_host_asks() -> None:
    """Releases differ in what they give the model besides its hidden states."""
    runner = _runner()
    hooks.install(runner)

    assert runner.model.compute_logits(torch.ones(1), 3, shift=4).item() == 7


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
    assert sampler.arguments == ()

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
    sampler.arm(_decider(seen))
    runner.sampler(torch.ones(1), None)
    feature = torch.ones(1, 3)
    logits = runner.model.compute_logits(feature)
    for _ in range(2):
        sampler.arm(_decider(seen))
        runner.sampler(logits, None)

    assert seen[1] is None
    assert seen[3] is feature
    assert seen[5] is None


class Verifier:
    """A host's rejection sampler."""

    def forward(
        self, metadata: object, draft_probs: object, logits: Tensor, sampling_metadata: object
    ) -> str:
        """Verify drafts."""
        del metadata, draft_probs, logits, sampling_metadata
        return "verified"

    __call__ = forward


def test_a_batch_with_drafts_is_decided_about_as_well() -> None:
    """Whichever of the two samplers a step comes to, and once."""
    runner = _runner()
    runner.rejection_sampler = Verifier()
    sampler = hooks.install(runner, drafts=True).sampler
    seen: list[Tensor | None] = []
    logits = runner.model.compute_logits(torch.ones(2, 3))
    sampler.arm(_decider(seen))

    first = runner.rejection_sampler(None, None, logits, None)
    second = runner.sampler(logits, None)

    assert (first, second) == ("steered verified", "natural")
    assert seen[0] is logits
    sampler.arm(_decider(seen))
    assert runner.sampler(logits, None) == "steered natural"
    assert runner.rejection_sampler(None, None, logits, None) == "verified"
    sampler.arming.guarded = True
    with pytest.raises(SteeringError, match="was not told"):
        runner.rejection_sampler(None, None, logits, None)
