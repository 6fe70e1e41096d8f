"""The two seams into the model runner.

The feature is the tensor that ``compute_logits`` receives, one row per request that samples. The
decision is taken where the runner calls its sampler: after the grammar bitmask, with the rows in
the order of the batch, and before the sampled tokens are booked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class Decider(Protocol):
    """What acts on a sampled batch."""

    def __call__(self, sample: Callable[[], Any], logits: Tensor, feature: Tensor | None) -> Any:
        """Sample through ``sample`` and return its output, changed where the decision says so."""


class FeatureTap:
    """Keeps the hidden states that ``lm_head`` consumed last.

    Attributes:
        feature: Those, ``[rows, hidden]``; ``None`` once they are taken.
        holding: While set, the hidden states are kept and no logits are computed from them.
    """

    def __init__(self, compute_logits: Callable[..., Any]) -> None:
        self._compute_logits = compute_logits
        self.feature: Tensor | None = None
        self.holding = False

    def __call__(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute the logits of ``hidden_states`` ``[rows, hidden]`` as the model does."""
        self.feature = hidden_states
        if self.holding:
            return None
        return self._compute_logits(hidden_states, *args, **kwargs)


class SteeredSampler:
    """Stands in for the runner's sampler and gives the decider the sampled batch.

    It is transparent (attributes and calls go to the host's sampler) while no decider is armed,
    so warm-up and profiling runs are never steered.

    Attributes:
        arguments: What the runner gave its sampler besides the logits, in the current call.
    """

    def __init__(self, sampler: Any, tap: FeatureTap) -> None:
        self._sampler = sampler
        self._tap = tap
        self._armed: Decider | None = None
        self.arguments: tuple[Any, ...] = ()

    def arm(self, decider: Decider) -> None:
        """Let ``decider`` act on the next call, and on that one only."""
        self._armed = decider

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Sample one token per row, as the host's sampler is called."""
        decider, self._armed = self._armed, None
        if decider is None:
            return self._sampler(*args, **kwargs)
        logits = kwargs["logits"] if "logits" in kwargs else args[0]
        self.arguments = args[1:]
        feature, self._tap.feature = self._tap.feature, None
        return decider(lambda: self._sampler(*args, **kwargs), logits, feature)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What was put into a model runner.

    Attributes:
        tap: Where it computes its logits.
        sampler: Where it samples.
        host_sampler: The host's own sampler, which is called through ``sampler``.
    """

    tap: FeatureTap
    sampler: SteeredSampler
    host_sampler: Any


def install(runner: Any) -> Hooks:
    """Put both hooks into a model runner whose model is loaded."""
    model = runner.get_model()
    tap = FeatureTap(model.compute_logits)
    model.compute_logits = tap
    host_sampler = runner.sampler
    runner.sampler = SteeredSampler(host_sampler, tap)
    return Hooks(tap, runner.sampler, host_sampler)
