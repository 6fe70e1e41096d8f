"""The negative control: a plug-in that loads, passes every check, and never acts."""

from __future__ import annotations

from typing import Any

from value_steer.worker import ValueSteerWorker


class DeadWorker(ValueSteerWorker):
    """Does everything that value-steer does but decide, as if the hooks had silently come off."""

    def compile_or_warm_up_model(self) -> Any:
        """Follow no step once the engine has been proved sound."""
        warm_up = super().compile_or_warm_up_model()
        if self.modes is not None:
            self._hooks.calls.follow(None)
        return warm_up
