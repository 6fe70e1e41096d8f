"""What value filtering asks of the scheduler: a slot per request, and steps done again.

The slot is that of the token that is run ahead; see :mod:`value_steer.engine.repetition` for steps
done again.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from vllm.engine.arg_utils import EngineArgs
from vllm.v1.core.sched.scheduler import Scheduler

from value_steer.config import parse_settings
from value_steer.engine.repetition import repeating
from value_steer.errors import SettingsError, SteeringError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vllm.config import VllmConfig

REMEDY = (
    "the scheduler does not reserve the slot that value-filtered decoding needs. It runs in "
    "another process than the worker and value-steer is not loaded there: install value-steer as "
    "a package, so that vLLM finds its entry point in vllm.general_plugins, and let VLLM_PLUGINS, "
    "if it is set, name value_steer"
)

_MARK = "_value_steer_lookahead"

_REGISTERED_BY = "VALUE_STEER_REGISTERED_BY"
"""The environment variable in which a process tells its children that it has registered."""


def register() -> None:
    """Let engines whose ``additional_config`` enables ``vfd`` reserve one slot per request.

    The entry point of ``vllm.general_plugins``; safe to call any number of times. Engines that do
    not enable ``vfd`` are left as they are.
    """
    os.environ.setdefault(_REGISTERED_BY, str(os.getpid()))
    _wrap(Scheduler, "__init__", _reserving)
    _wrap(EngineArgs, "create_engine_config", _synchronous)


def require_registration(vllm_config: VllmConfig) -> None:
    """Check, in a worker, that the process that schedules reserves slots.

    Raises:
        UnsupportedError: It is another process, and it does not.
    """
    backend = vllm_config.parallel_config.distributed_executor_backend
    if backend == "mp" and os.environ.get(_REGISTERED_BY) in {None, str(os.getpid())}:
        raise UnsupportedError(REMEDY)
    register()


def filters(additional_config: object) -> bool:
    """Whether an ``additional_config`` enables value-filtered decoding."""
    if not isinstance(additional_config, dict) or "vfd" not in additional_config:
        return False
    try:
        vfd = parse_settings(additional_config).vfd
    except SettingsError:  # the worker reports it, with every other problem of the section
        return False
    return vfd is not None and vfd.enabled


def require_slots(blocks: Iterable[tuple[int, int]], position: int) -> None:
    """Check that a position has a slot.

    Args:
        blocks: Blocks and block size of a request in each cache group.
        position: Where a token is about to be run ahead.

    Raises:
        SteeringError: It has none.
    """
    if any(count * size <= position for count, size in blocks):
        raise SteeringError(REMEDY)


def _wrap(owner: type, name: str, wrapper: Callable[[Callable[..., Any]], Any]) -> None:
    method = getattr(owner, name)
    if not hasattr(method, _MARK):
        wrapped = functools.wraps(method)(wrapper(method))
        setattr(wrapped, _MARK, True)
        setattr(owner, name, wrapped)


def _reserving(init: Callable[..., None]) -> Callable[..., None]:
    def initialise(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if filters(self.vllm_config.additional_config):
            manager = self.kv_cache_manager
            manager.allocate_slots = _with_lookahead(manager.allocate_slots)
            self.update_from_output = repeating(self, self.update_from_output)

    return initialise


def _with_lookahead(allocate: Callable[..., Any]) -> Callable[..., Any]:
    def allocate_slots(*args: Any, num_lookahead_tokens: int = 0, **kwargs: Any) -> Any:
        return allocate(*args, num_lookahead_tokens=max(1, num_lookahead_tokens), **kwargs)

    return allocate_slots


def _synchronous(create: Callable[..., Any]) -> Callable[..., Any]:
    def create_engine_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.async_scheduling is None and filters(self.additional_config):
            self.async_scheduling = False
        return create(self, *args, **kwargs)

    return create_engine_config
