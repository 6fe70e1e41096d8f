"""Failed decisions: the step ends, or the failure is counted and passed over."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from value_steer.config import OnError
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger("value_steer")


class Guard:
    """Surrounds the decisions of one mode: ``with guard: ...``.

    Args:
        on_error: What the operator chose for that mode.

    Attributes:
        failures: Errors passed over so far.
    """

    def __init__(self, on_error: OnError) -> None:
        self._on_error = on_error
        self._causes: set[str] = set()
        self.failures = 0

    def __enter__(self) -> None:
        """A decision begins."""

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """A decision is over; whether its failure is passed over.

        Raises:
            SteeringError: It failed, and ``on_error`` is ``raise``.
        """
        if not isinstance(error, Exception):
            return False
        self._failed(error)
        return True

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
