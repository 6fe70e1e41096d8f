"""Asynchronous scheduling on a CPU, where vLLM's platform turns it off.

The engine then builds its asynchronous scheduler, queues two batches and gets outputs as promises,
as it does on a GPU by default. The folder above is put on ``PYTHONPATH``; the ``dist-info`` beside
this package is its entry point. Every promise is kept after a random delay, as a device would.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import time
from typing import Any

from compat.behaviour.messages import LATE

from . import streams

_MARK = "_cpu_async_standin"
_DELAYS = (0.0, 0.0, 0.0005, 0.002)
"""Seconds, drawn with equal chances: mostly none, so that the suite stays quick."""


def register() -> None:
    """Undo what the CPU platform decides; safe to call any number of times."""
    from vllm.platforms.cpu import CpuPlatform

    decide = CpuPlatform.check_and_update_config
    if hasattr(decide, _MARK):
        return

    def check_and_update_config(_: type, vllm_config: Any) -> None:
        wanted = vllm_config.scheduler_config.async_scheduling
        decide(vllm_config)
        # ``None``: nobody has decided; a platform with a device would say yes.
        vllm_config.scheduler_config.async_scheduling = wanted is not False

    setattr(check_and_update_config, _MARK, True)
    CpuPlatform.check_and_update_config = classmethod(check_and_update_config)
    streams.provide()
    if os.environ.get("CPU_ASYNC_DELAYS") != "0":  # a benchmark wants none
        _delay_promises()


def _delay_promises() -> None:
    """Delay what any of vLLM's promises waits for, whichever runners a release has and where."""
    from vllm.v1.outputs import AsyncModelRunnerOutput

    clock = _Clock()

    def delay(promise: Any, /, **_: Any) -> None:
        # Those of others, value-steer's own for one, wait for one of vLLM's.
        if promise.__module__.startswith("vllm.") and "get_output" in vars(promise):
            promise.get_output = clock.late(promise.get_output)

    for promise in AsyncModelRunnerOutput.__subclasses__():
        delay(promise)
    # A runner may not have been imported yet, and in other orders than the host's it cannot be.
    AsyncModelRunnerOutput.__init_subclass__ = classmethod(delay)


class _Clock:
    def __init__(self) -> None:
        self._delays = random.Random(os.getpid())  # noqa: S311  (no secret)
        self._said = False

    def late(self, keep: Any) -> Any:
        @functools.wraps(keep)
        def get_output(promise: Any) -> Any:
            if not self._said:
                self._said = True
                logging.getLogger("vllm.cpu_async_standin").info(LATE)
            time.sleep(self._delays.choice(_DELAYS))
            return keep(promise)

        return get_output
