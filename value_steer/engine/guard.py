"""What happens when a decision fails: the step ends, or the failure is counted and passed over."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from value_steer.config import OnError
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("value_steer")


class Guard:
    """Surrounds the decisions of one mode.

    Args:
        on_error: What the operator chose for that mode.

    Attributes:
        failures: Errors passed over so far.
    """

    def __init__(self, on_error: OnError) -> None:
        self._on_error = on_error
        self._causes: set[str] = set()
        self.failures = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Run a decision.

        Raises:
            SteeringError: It failed, and ``on_error`` is ``raise``.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001  (raised again or counted)
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self._on_error is OnError.RAISE:
            msg = (
                f"a steering decision failed ({type(error).__name__}: {error}); the step is not "
                'served. Set "on_error": "passthrough" to serve such steps unsteered'
            )
            raise SteeringError(msg) from error
        self.failures += 1
        cause = f"{type(error).__name__}: {error}"
        if cause not in self._causes:
            self._causes.add(cause)
            logger.error("served unsteered (on_error: passthrough): %s", cause, exc_info=error)
