"""Asynchronous scheduling on a CPU, where vLLM's platform turns it off.

The engine then builds its asynchronous scheduler, queues two batches and gets outputs as promises,
as it does on a GPU by default. The folder above is put on ``PYTHONPATH``; the ``dist-info`` beside
this package is its entry point. Every promise is kept after a random delay, as a device would.
"""

from __future__ import annotations

import functools
import os
import random
import time
from typing import Any

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
    _delay_promises()


def _delay_promises() -> None:
    from vllm.v1.worker.gpu.async_utils import AsyncOutput
    from vllm.v1.worker.gpu_model_runner import AsyncGPUModelRunnerOutput

    delays = random.Random(os.getpid())
    for promise in (AsyncGPUModelRunnerOutput, AsyncOutput):
        _delay(promise, delays)


def _delay(promise: Any, delays: random.Random) -> None:
    keep = promise.get_output

    @functools.wraps(keep)
    def get_output(self: Any) -> Any:
        time.sleep(delays.choice(_DELAYS))
        return keep(self)

    promise.get_output = get_output
