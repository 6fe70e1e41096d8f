"""Checks of a request's settings where it enters: a caller gets an error, not an answer.

vLLM asks the sampling parameters of every request to verify themselves before it is queued, in the
process that talks to the caller. An error there is HTTP 400, or a ``ValueError`` of ``LLM``. The
worker checks the same once more, because a process without value-steer may have let it through.

What sampling parameters do not show is checked where it is asked for: beam search, and prompts that
arrive in pieces.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams
from vllm.tokenizers.registry import cached_tokenizer_from_config
from vllm.v1.engine.input_processor import InputProcessor

from value_steer.config import NEVER
from value_steer.engine.admission import check_action, check_candidates, check_head
from value_steer.engine.forcing.scripts import Scripts, resolve_scripts
from value_steer.errors import CalibrationError, SettingsError
from value_steer.operating_point import resolve_vfd_request, resolve_vfd_threshold
from value_steer.request_settings import RequestSettings, Trial, parse_request
from value_steer.value_probe import load_value_head

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vllm.config import ModelConfig, VllmConfig

    from value_steer.config import SteerSettings, Threshold, VfdSettings
    from value_steer.value_probe import HeadCard

_MARK = "_value_steer"

_BEAM_SEARCHES = (
    ("vllm.entrypoints.generate.beam_search.offline", "BeamSearchOfflineMixin"),
    ("vllm.entrypoints.generate.beam_search.online", "BeamSearchOnlineMixin"),
)
"""Who searches beams, offline and behind a server."""

_EARLIER_BEAM_SEARCHES = (
    ("vllm.entrypoints.llm", "LLM"),
    ("vllm.entrypoints.openai.engine.serving", "OpenAIServing"),
)
"""The same in releases that do not have those modules."""


# From vLLM 0.27 on the server takes any error but its own for a failure: 500, without a word.
class RequestRefusedError(VLLMValidationError, SettingsError):  # type: ignore[misc]  # the host's
    """A request asks for what its engine does not allow."""


@dataclass(frozen=True)
class RequestCheck:
    """The settings that the engine of one configuration lets a request ask for.

    Attributes:
        settings: Of the engine.
        model_config: Identifies the engine where a request is verified.
        drafts: Whether it decodes speculatively.
    """

    settings: SteerSettings
    model_config: ModelConfig
    drafts: bool

    def __call__(self, params: SamplingParams) -> None:
        """Check the settings of one request.

        Raises:
            SettingsError: Says which setting, its value, and what is allowed.
            CalibrationError: The head's calibration does not cover what it asks for.
        """
        own = parse_request(params.extra_args)
        vfd = self.settings.vfd
        filters = vfd is not None and vfd.enabled
        if vfd is not None and filters:
            check_candidates(own, vfd.most_candidates)
            if own.vfd_alpha is not None:
                self._vfd_threshold(own, vfd)
        modes = [mode for mode in (self.settings.abstain, vfd) if mode and mode.enabled]
        check_head(own, {name for mode in modes for name in mode.heads})
        if own.abstain_action is not None:
            check_action(own, params, self._scripts)
        self._check_test(own, params, filters=filters)

    @property
    def steers(self) -> bool:
        """Whether any mode is enabled."""
        modes = (self.settings.abstain, self.settings.vfd)
        return any(mode is not None and mode.enabled for mode in modes)

    def check_session(self, params: SamplingParams) -> None:
        """Check a request whose prompt arrives in pieces.

        Raises:
            SettingsError: Its tokens would be filtered.
        """
        own, vfd = parse_request(params.extra_args), self.settings.vfd
        if vfd is None or not vfd.enabled or not own.steer:
            return
        if self._vfd_threshold(own, vfd) != NEVER:
            msg = (
                "a prompt that arrives in pieces cannot be filtered, because vLLM drops the last "
                "token before each piece, which filtering gives out late; send the whole prompt, "
                "or extra_args.vfd_threshold = 'never'"
            )
            raise SettingsError(msg)

    def _check_test(self, own: RequestSettings, params: SamplingParams, *, filters: bool) -> None:
        if own.steer_test is Trial.INTERVENE and not filters:
            msg = "extra_args.steer_test = 'intervene': this engine does not filter tokens"
            raise SettingsError(msg)
        if own.steer_test is Trial.ABSTAIN and params.ignore_eos:
            msg = "extra_args.steer_test = 'abstain': a request with ignore_eos cannot be ended"
            raise SettingsError(msg)

    def _vfd_threshold(self, own: RequestSettings, vfd: VfdSettings) -> Threshold:
        """The threshold that a request is filtered by."""
        settings = vfd.heads.get(own.steer_head or "", vfd)
        card = _card(settings.value_head_path)
        return resolve_vfd_request(own, resolve_vfd_threshold(settings, card), card)

    @functools.cached_property
    def _scripts(self) -> Scripts | None:
        abstain = self.settings.abstain
        if abstain is None or not abstain.enabled:
            return None
        tokenizer = cached_tokenizer_from_config(self.model_config)
        return resolve_scripts(abstain, tokenizer, drafts=self.drafts)


@functools.lru_cache(maxsize=32)
def _card(path: Path) -> HeadCard:
    return load_value_head(path).card


_CHECKS: dict[int, RequestCheck] = {}


def check_requests_of(config: VllmConfig, settings: SteerSettings) -> None:
    """Let the requests of an engine be checked when they enter."""
    # Kept with the configuration itself, so that its address is not used again.
    _CHECKS[id(config.model_config)] = RequestCheck(
        settings, config.model_config, drafts=config.speculative_config is not None
    )
    for owner in _beam_searches():
        _wrap(owner, "beam_search", _refusing_beams)


def register() -> None:
    """Take part in the verification of sampling parameters; safe to call any number of times."""
    _wrap(SamplingParams, "verify", _checking)
    _wrap(InputProcessor, "process_inputs", _checking_sessions)


def _wrap(owner: Any, name: str, wrapping: Callable[[Any], Any]) -> None:
    method = getattr(owner, name)
    if not hasattr(method, _MARK):
        wrapped = functools.wraps(method)(wrapping(method))
        setattr(wrapped, _MARK, True)
        setattr(owner, name, wrapped)


def _beam_searches() -> list[Any]:
    """The classes of this release that search beams."""
    try:
        return [getattr(importlib.import_module(m), name) for m, name in _BEAM_SEARCHES]
    except ModuleNotFoundError:
        return [getattr(importlib.import_module(m), name) for m, name in _EARLIER_BEAM_SEARCHES]


def _checking(verify: Callable[..., None]) -> Callable[..., None]:
    def checked(self: SamplingParams, model_config: Any, *args: Any, **kwargs: Any) -> None:
        verify(self, model_config, *args, **kwargs)
        check = _CHECKS.get(id(model_config))
        if check is not None:
            try:
                check(self)
            except (SettingsError, CalibrationError) as error:
                raise RequestRefusedError(str(error)) from error

    return checked


def _checking_sessions(process: Callable[..., Any]) -> Callable[..., Any]:
    def process_inputs(
        self: InputProcessor, request_id: str, prompt: Any, params: Any, *args: Any, **kwargs: Any
    ) -> Any:
        check = _CHECKS.get(id(self.model_config))
        if check is not None and kwargs.get("resumable") and isinstance(params, SamplingParams):
            try:
                check.check_session(params)
            except SettingsError as error:
                raise RequestRefusedError(str(error)) from error
        return process(self, request_id, prompt, params, *args, **kwargs)

    return process_inputs


def _refusing_beams(search: Callable[..., Any]) -> Callable[..., Any]:
    def beam_search(self: Any, *args: Any, **kwargs: Any) -> Any:
        check = _CHECKS.get(id(self.model_config))
        if check is not None and check.steers:
            msg = (
                "beam search picks tokens from log-probabilities, which steering does not change, "
                "so its answers would be unsteered; ask for several answers with n, or "
                "for beams from an engine without value-steer"
            )
            raise RequestRefusedError(msg)
        return search(self, *args, **kwargs)

    return beam_search
