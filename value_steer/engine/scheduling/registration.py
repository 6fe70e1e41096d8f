"""Lets an engine that steers build a scheduler that knows of it.

The entry point of ``vllm.general_plugins``, which vLLM loads before it makes an engine's
configuration. Only configurations whose ``additional_config`` asks for steering are changed.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from vllm.engine.arg_utils import EngineArgs

from value_steer.config import is_disabled, parse_settings
from value_steer.engine import frontend
from value_steer.engine.logs import adopt_logging
from value_steer.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vllm.config import VllmConfig

    from value_steer.config import SteerSettings

_SCHEDULERS = "value_steer.engine.scheduling.scheduler"
SYNCHRONOUS = f"{_SCHEDULERS}.SteeredScheduler"
ASYNCHRONOUS = f"{_SCHEDULERS}.SteeredAsyncScheduler"
LATE = f"{_SCHEDULERS}.LateScheduler"

REMEDY = (
    "the engine's scheduler knows nothing of value-steer: remove --scheduler-cls, install "
    "value-steer as a package, so that vLLM finds its entry point in vllm.general_plugins, and let "
    "VLLM_PLUGINS, if it is set, name value_steer"
)

_MARK = "_value_steer"


def register() -> None:
    """Let engines that steer be configured for it; safe to call any number of times."""
    adopt_logging()  # in the server as well, whose root logger some releases silence
    frontend.register()
    create = EngineArgs.create_engine_config
    if not hasattr(create, _MARK):
        wrapped = functools.wraps(create)(_choosing(create))
        setattr(wrapped, _MARK, True)
        EngineArgs.create_engine_config = wrapped


def configure(config: VllmConfig) -> None:
    """Prepare an engine for steering, if its ``additional_config`` asks for that."""
    settings = _settings(config.additional_config)
    if settings is None or is_disabled():
        return
    frontend.check_requests_of(config, settings)
    scheduling = config.scheduler_config
    if scheduling.scheduler_cls is not None:  # the operator's choice; the worker says what it costs
        return
    if settings.vfd is not None and settings.vfd.enabled:
        scheduling.scheduler_cls = LATE
    else:
        scheduling.scheduler_cls = ASYNCHRONOUS if scheduling.async_scheduling else SYNCHRONOUS


def takes_tokens_back(config: VllmConfig) -> bool:
    """Whether the engine's scheduler is the one that value filtering needs."""
    return bool(config.scheduler_config.scheduler_cls == LATE)


def is_ours(config: VllmConfig) -> bool:
    """Whether the engine's scheduler knows of value-steer."""
    return config.scheduler_config.scheduler_cls in {SYNCHRONOUS, ASYNCHRONOUS, LATE}


def _settings(additional_config: object) -> SteerSettings | None:
    """The settings in an ``additional_config``; ``None``: none, or the worker will refuse them."""
    if not isinstance(additional_config, dict) or not {"abstain", "vfd"} & additional_config.keys():
        return None
    try:
        return parse_settings(additional_config)
    except SettingsError:  # the worker reports it, with every other problem of the section
        return None


def _choosing(create: Callable[..., Any]) -> Callable[..., Any]:
    def create_engine_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        config = create(self, *args, **kwargs)
        configure(config)
        return config

    return create_engine_config
