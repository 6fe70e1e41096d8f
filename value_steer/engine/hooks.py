"""The seams into the model runner.

A step is followed where the runner's two calls begin, because every executor comes through them.
The feature is the tensor that ``compute_logits`` receives, one row per request that samples. The
decision is taken where the runner calls its sampler: after the grammar bitmask, with the rows in
the order of the batch, and before the sampled tokens are recorded.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from vllm.v1.core.sched.output import SchedulerOutput


_DUMMY_RUN = "dummy_run"


class Decider(Protocol):
    """Acts on a sampled batch."""

    def __call__(self, sample: Callable[[], Any], logits: Tensor, feature: Tensor | None) -> Any:
        """Sample through ``sample`` and return its output, changed where the decision says so."""


class StepFollower(Protocol):
    """Follows the steps of a model runner."""

    def begin(self, step: SchedulerOutput) -> SchedulerOutput:
        """Take in a step that the runner is about to run; returns it as it has to be run."""

    def end(self, output: Any) -> Any:
        """The output of a step, changed where a decision says so."""


class StepCalls:
    """Stands in for the two calls of a step of a model runner.

    It is transparent while nobody follows: during the host's warm-up, which makes steps of its own,
    and for the dummy steps that keep data-parallel engines in lockstep.

    Attributes:
        execute: The host's own first call.
        sample: The host's own second call.
        follower: Who follows the steps; ``None`` for nobody.
    """

    def __init__(self, runner: Any, sampler: SteeredSampler) -> None:
        self.execute, self.sample = runner.execute_model, runner.sample_tokens
        self.follower: StepFollower | None = None
        self._sampler = sampler
        # Behind the step itself. Binding a signature in every step would cost more than the rest.
        further = list(inspect.signature(runner.execute_model).parameters)[1:]
        self._dummy_run = further.index(_DUMMY_RUN) if _DUMMY_RUN in further else None
        runner.execute_model, runner.sample_tokens = self._execute, self._sample

    def follow(self, follower: StepFollower | None) -> None:
        """Let ``follower`` follow from now on; then a batch that it was not told of is refused."""
        self.follower = follower
        self._sampler.arming.guarded = follower is not None

    def _execute(self, step: SchedulerOutput, *args: Any, **kwargs: Any) -> Any:
        if self.follower is None or self._is_dummy(args, kwargs):
            return self.execute(step, *args, **kwargs)
        return self.execute(self.follower.begin(step), *args, **kwargs)

    def _sample(self, *args: Any, **kwargs: Any) -> Any:
        try:
            output = self.sample(*args, **kwargs)
        finally:
            # What was armed for a step that sampled nothing must not act on another one.
            self._sampler.disarm()
        return output if self.follower is None else self.follower.end(output)

    def _is_dummy(self, args: Any, kwargs: Any) -> bool:
        """Whether the host says so, where its call has a word for it (Model Runner V2)."""
        place = self._dummy_run
        if place is None:
            return False
        return bool(args[place] if len(args) > place else kwargs.get(_DUMMY_RUN, False))


class FeatureTap:
    """Keeps the hidden states that ``lm_head`` consumed last.

    Attributes:
        feature: Those, ``[rows, hidden]``; ``None`` once they are taken.
    """

    def __init__(self, compute_logits: Callable[..., Any]) -> None:
        self._compute_logits = compute_logits
        self.feature: Tensor | None = None

    def __call__(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute the logits of ``hidden_states`` ``[rows, hidden]`` as the model does."""
        self.feature = hidden_states
        return self._compute_logits(hidden_states, *args, **kwargs)


@dataclass(slots=True)
class Arming:
    """Who acts on the next batch, whichever of the runner's samplers samples it.

    Attributes:
        decider: Who does; ``None`` for nobody.
        guarded: Whether a batch on which nobody acts is refused: the engine serves, and such a
            batch would be served unsteered.
    """

    decider: Decider | None = None
    guarded: bool = False


class SteeredSampler:
    """Stands in for a sampler of the runner and gives the decider the sampled batch.

    It is transparent (attributes and calls go to the host's sampler) while no decider is armed,
    so warm-up and profiling runs are never steered.

    Attributes:
        arguments: What the runner gave its sampler besides the logits, in the current call.
        arming: Who acts on the next call.
    """

    def __init__(self, sampler: Any, tap: FeatureTap, arming: Arming, logits: int = 0) -> None:
        self._sampler = sampler
        self._tap = tap
        self._logits = logits
        self.arming = arming
        self.arguments: tuple[Any, ...] = ()

    def arm(self, decider: Decider) -> None:
        """Let ``decider`` act on the next call, and on that one only."""
        self.arming.decider = decider

    def disarm(self) -> None:
        """Let no decider act on the next call."""
        self.arming.decider = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Sample one token per row, as the host's sampler is called.

        Raises:
            SteeringError: The batch belongs to no step that was followed.
        """
        decider, self.arming.decider = self.arming.decider, None
        if decider is None:
            if self.arming.guarded:
                msg = (
                    "a batch is sampled of which value-steer was not told, so it would be served "
                    "unsteered: this executor does not go through the model runner's execute_model "
                    "and sample_tokens. Run value-steer-compat to see which vLLM internal moved"
                )
                raise SteeringError(msg)
            return self._sampler(*args, **kwargs)
        logits = kwargs["logits"] if "logits" in kwargs else args[self._logits]
        self.arguments = args[1:]
        feature, self._tap.feature = self._tap.feature, None
        return decider(lambda: self._sampler(*args, **kwargs), logits, feature)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks in a model runner.

    Attributes:
        calls: Where its steps begin and end.
        tap: Where it computes its logits.
        sampler: Where it samples.
        host_sampler: The host's own sampler, which is called through ``sampler``.
    """

    calls: StepCalls
    tap: FeatureTap
    sampler: SteeredSampler
    host_sampler: Any


def install(runner: Any, *, drafts: bool = False) -> Hooks:
    """Put the hooks into a model runner whose model is loaded.

    Args:
        runner: The host's.
        drafts: Whether it decodes speculatively, and so samples with a second sampler.
    """
    model = runner.get_model()
    tap = FeatureTap(model.compute_logits)
    model.compute_logits = tap
    host_sampler = runner.sampler
    arming = Arming()
    runner.sampler = sampler = SteeredSampler(host_sampler, tap, arming)
    if drafts:
        # It has the host's own sampler of the bonus token, which is not stood in for.
        at = list(inspect.signature(runner.rejection_sampler.forward).parameters).index("logits")
        runner.rejection_sampler = SteeredSampler(runner.rejection_sampler, tap, arming, at)
    return Hooks(StepCalls(runner, sampler), tap, sampler, host_sampler)
