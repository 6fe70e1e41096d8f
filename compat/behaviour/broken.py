"""Plug-ins broken in ways that must be noticed."""

from __future__ import annotations

from typing import Any

from value_steer.engine.steps import SteeredSteps
from value_steer.worker import ValueSteerWorker


class FailingWorker(ValueSteerWorker):
    """Passes the self-test, then fails at every decision."""

    def compile_or_warm_up_model(self) -> Any:
        """Take the decision's means away once the engine has been proved sound."""
        warm_up = super().compile_or_warm_up_model()
        assert isinstance(self._steps, SteeredSteps)
        del self._steps.steering._abstainer  # noqa: SLF001
        return warm_up


class BypassedWorker(ValueSteerWorker):
    """Steps begin past value-steer once the engine serves, as with an executor of another kind."""

    def compile_or_warm_up_model(self) -> Any:
        """Put the host's own first call back once the engine has been proved sound."""
        warm_up = super().compile_or_warm_up_model()
        self.model_runner.execute_model = self._hooks.calls.execute
        return warm_up


class UnfollowedWorker(ValueSteerWorker):
    """The runner's two calls are replaced before the self-test, as if the host had wrapped them."""

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        """Put both of the host's own calls back."""
        super().load_model(*args, **kwargs)
        calls = self._hooks.calls
        self.model_runner.execute_model = calls.execute
        self.model_runner.sample_tokens = calls.sample


class UnhookedWorker(ValueSteerWorker):
    """The runner samples past value-steer, as if it had stopped using ``runner.sampler``."""

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        """Put the host's own sampler back."""
        super().load_model(*args, **kwargs)
        self.model_runner.sampler = self._hooks.host_sampler


class UntappedWorker(ValueSteerWorker):
    """The logits are computed past the tap, as if ``compute_logits`` had been renamed."""

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        """Take the tap off the model."""
        super().load_model(*args, **kwargs)
        del self.model_runner.get_model().compute_logits
