"""The host's schedulers, for an engine that steers."""

from __future__ import annotations

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler

from value_steer.engine.scheduling.late import LateScheduling
from value_steer.engine.scheduling.reporting import SteeredScheduling


class SteeredScheduler(SteeredScheduling, Scheduler):  # type: ignore[misc]  # the host's
    """Of a synchronous engine that abstains and does not filter."""


class SteeredAsyncScheduler(SteeredScheduling, AsyncScheduler):  # type: ignore[misc]  # the host's
    """Of an asynchronous engine that abstains and does not filter."""


class LateScheduler(LateScheduling, SteeredScheduling, AsyncScheduler):  # type: ignore[misc]  # the host's
    """Of an engine that filters, be it synchronous or asynchronous.

    A synchronous engine needs the asynchronous bookkeeping as well: a token that is held is one
    that the scheduler does not know yet.
    """
