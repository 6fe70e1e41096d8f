"""Says once what could go wrong with every answer."""

from __future__ import annotations

import logging

logger = logging.getLogger("value_steer")


class Notices:
    """Warnings of one server, each said at its first time."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def warn(self, message: str, error: BaseException | None = None) -> None:
        """Say something, with what caused it, if it was not said before."""
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s (said once)", message, exc_info=error)
