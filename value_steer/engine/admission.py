"""How a request that enters the engine becomes a live one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from value_steer.engine.forcing.scripts import Scripts
from value_steer.engine.live_request import LiveRequest
from value_steer.errors import CalibrationError, SettingsError
from value_steer.operating_point import resolve_vfd_request
from value_steer.policy import in_control_group
from value_steer.request_settings import (
    MOST_CANDIDATES,
    AbstainAction,
    RequestSettings,
    Trial,
    parse_request,
)
from value_steer.threshold import NEVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vllm.sampling_params import SamplingParams
    from vllm.v1.core.sched.output import NewRequestData

    from value_steer.threshold import Threshold
    from value_steer.value_probe import HeadCard

_GREEDY_BELOW = 1e-5
"""The temperature below which vLLM's sampler is greedy."""


@dataclass(frozen=True, slots=True)
class HeadDefaults:
    """The settings of one head, which a request may override.

    Attributes:
        index: Its place among the heads of its mode.
        threshold: P(good) below which a request ends, or P(undesirable) from which on a token is
            unacceptable.
        card: To resolve a request's own operating point.
    """

    index: int
    threshold: Threshold
    card: HeadCard


@dataclass(frozen=True, slots=True)
class AbstainDefaults:
    """The engine's settings of abstention.

    Attributes:
        head: What scores a request that names no other.
        named: The other heads.
        min_tokens: Response tokens before the first judged one; 0 judges the prompt as well.
        action: What happens once a request fires.
        scripts: What can happen.
    """

    head: HeadDefaults
    min_tokens: int
    named: Mapping[str, HeadDefaults] = field(default_factory=dict)
    action: AbstainAction = AbstainAction.END
    scripts: Scripts = field(default_factory=Scripts)


@dataclass(frozen=True, slots=True)
class FilterDefaults:
    """The engine's settings of value filtering.

    Attributes:
        head: What scores a request that names no other.
        named: The other heads.
        candidates: Draws per token at most.
        most: Draws per token that a request may ask for at most.
    """

    head: HeadDefaults
    candidates: int
    named: Mapping[str, HeadDefaults] = field(default_factory=dict)
    most: int = MOST_CANDIDATES


@dataclass(frozen=True, slots=True)
class Admission:
    """How a request that enters the engine becomes a :class:`LiveRequest`.

    Attributes:
        abstention: ``None`` if the engine does not abstain.
        filtering: ``None`` if it does not filter.
        control_share: Share of the requests that is judged and not acted on.
    """

    abstention: AbstainDefaults | None
    filtering: FilterDefaults | None = None
    control_share: float = 0.0

    def __call__(self, new: NewRequestData, slot: int) -> LiveRequest:
        """Read what a new request asks for.

        A request whose own settings are wrong is ended at its first token: a worker can refuse
        nothing, and serving it unsteered would be the one thing nobody asked for.
        """
        params = new.sampling_params
        try:
            own, refusal = self._settings(params), None
            filtering = self._filtering(own)
        except (SettingsError, CalibrationError) as error:
            own, refusal, filtering = RequestSettings(steer=False), str(error), None
        forced = refusal is not None or (own.steer and own.steer_test is Trial.ABSTAIN)
        threshold = math.inf if forced else self._threshold(own, params)
        stop_token = _stop_token(params)
        if stop_token is None:
            threshold = None
        earliest = params.min_tokens if refusal else max(self._min_tokens, params.min_tokens)
        steered = refusal is None and (threshold is not None or filtering is not None)
        control = steered and self._is_control(new, own)
        prompt_length = _prompt_length(new)
        may_fire = threshold is not None and refusal is None and not control
        action = self._action(own, params) if may_fire else AbstainAction.END
        return LiveRequest(
            prompt_length=prompt_length,
            threshold=threshold,
            # Of a control every value is wanted, that of the prompt as well.
            first_judged=prompt_length + (0 if control else earliest),
            first_endable=prompt_length + params.min_tokens,
            stop_token=-1 if stop_token is None else stop_token,
            constrained=params.structured_outputs is not None,
            wants_logprobs=_wants_logprobs(params),
            slot=slot,
            vfd_threshold=filtering,
            candidates=self._candidates(own),
            greedy=params.temperature < _GREEDY_BELOW,
            unendable=stop_token is None and self.abstention is not None,
            keeps_values=own.steer_values,
            refuses_next=filtering is not None and own.steer_test is Trial.INTERVENE,
            action=action,
            reasoning_marks=self._marks(new, action),
            head=chosen_head(own, self.abstention).index if self.abstention else 0,
            vfd_head=chosen_head(own, self.filtering).index if self.filtering else 0,
            refusal=refusal,
            control=control,
        )

    def _is_control(self, new: NewRequestData, own: RequestSettings) -> bool:
        """Whether a steered request belongs to the control group.

        Not one that states how it wants to be steered, nor one whose prompt or end does not show
        in its tokens: embeddings, and stop strings, for which the front end aborts a request.
        """
        stated = (own.abstain_threshold, own.vfd_threshold, own.vfd_alpha, own.steer_test)
        if any(setting is not None for setting in stated):
            return False
        embedded = new.prompt_token_ids is None or new.prompt_embeds is not None
        if embedded or new.sampling_params.stop:
            return False
        return in_control_group(new.req_id, self.control_share)

    def _action(self, own: RequestSettings, params: SamplingParams) -> AbstainAction:
        if self.abstention is None:
            return AbstainAction.END
        return chosen_action(own, params, self.abstention.action)

    @property
    def _min_tokens(self) -> int:
        return 0 if self.abstention is None else self.abstention.min_tokens

    def _settings(self, params: SamplingParams) -> RequestSettings:
        own = parse_request(params.extra_args)
        check_action(own, params, None if self.abstention is None else self.abstention.scripts)
        modes = [mode for mode in (self.abstention, self.filtering) if mode is not None]
        check_head(own, {name for mode in modes for name in mode.named})
        return own

    def _threshold(self, own: RequestSettings, params: SamplingParams) -> float | None:
        if self.abstention is None:
            return None
        default = chosen_head(own, self.abstention).threshold
        chosen = default if own.abstain_threshold is None else own.abstain_threshold
        if not own.steer or params.ignore_eos or chosen == NEVER:
            return None
        return float(chosen)

    def _filtering(self, own: RequestSettings) -> float | None:
        if self.filtering is None or not own.steer:
            return None
        check_candidates(own, self.filtering.most)
        head = chosen_head(own, self.filtering)
        chosen = resolve_vfd_request(own, head.threshold, head.card)
        return None if chosen == NEVER else float(chosen)

    def _candidates(self, own: RequestSettings) -> int:
        if self.filtering is None:
            return 1
        return own.vfd_num_candidates or self.filtering.candidates

    def _marks(self, new: NewRequestData, action: AbstainAction) -> tuple[int, int]:
        """Where the prompt opens and closes reasoning, which matters to requests that go on."""
        reasoning = self.abstention.scripts.reasoning if self.abstention else None
        if action is AbstainAction.END or reasoning is None:
            return -1, -1
        return reasoning.marks(new.prompt_token_ids or ())


def chosen_head(own: RequestSettings, mode: AbstainDefaults | FilterDefaults) -> HeadDefaults:
    """The head that scores a request; a mode without the named one has its first."""
    return mode.named.get(own.steer_head or "", mode.head)


def chosen_action(
    own: RequestSettings, params: SamplingParams, default: AbstainAction
) -> AbstainAction:
    """The action once a request fires; a message would break the grammar of one that has one."""
    action = own.abstain_action or default
    if action is AbstainAction.MESSAGE and params.structured_outputs is not None:
        return AbstainAction.END
    return action


def check_candidates(own: RequestSettings, most: int) -> None:
    """Check what a request asks for against what the operator allows.

    Raises:
        SettingsError: It asks for more.
    """
    asked = own.vfd_num_candidates
    if asked is not None and asked > most:
        msg = f"extra_args.vfd_num_candidates = {asked}: this engine allows {most} at most"
        raise SettingsError(msg)


def check_head(own: RequestSettings, names: set[str]) -> None:
    """Check that the head which a request names is there.

    Raises:
        SettingsError: It is not.
    """
    if own.steer_head is not None and own.steer_head not in names:
        there = ", ".join(sorted(names)) or "none; additional_config names them under heads"
        msg = f"extra_args.steer_head = {own.steer_head!r}: this engine has {there}"
        raise SettingsError(msg)


def check_action(own: RequestSettings, params: SamplingParams, scripts: Scripts | None) -> None:
    """Check what a request wants to happen against what the engine can do.

    Args:
        own: What the request asks for.
        params: Its sampling parameters.
        scripts: ``None`` if the engine does not abstain.

    Raises:
        SettingsError: It cannot.
    """
    action = own.abstain_action
    if action is None or action is AbstainAction.END:
        return
    at = f"extra_args.abstain_action = {action.value!r}"
    if scripts is None:
        msg = f"{at}: this engine does not abstain"
        raise SettingsError(msg)
    if scripts.refusal is not None:
        msg = f"{at}: {scripts.refusal}"
        raise SettingsError(msg)
    if not scripts.allows(action):
        missing = "message" if action is AbstainAction.MESSAGE else "reasoning_end_token"
        msg = f"{at}: this engine has no additional_config.abstain.{missing} for it"
        raise SettingsError(msg)
    if action is AbstainAction.MESSAGE and params.structured_outputs is not None:
        msg = f"{at}: a message would break the grammar of structured outputs; use 'end'"
        raise SettingsError(msg)


def _stop_token(params: SamplingParams) -> int | None:
    """The token id on which the scheduler ends this request."""
    if params.eos_token_id is not None:
        return params.eos_token_id
    return min(params.stop_token_ids, default=None)


def _wants_logprobs(params: SamplingParams) -> bool:
    """Whether the caller asked for log-probabilities: of the most probable tokens, or by id."""
    named = getattr(params, "logprob_token_ids", None)  # not known to every release
    return params.logprobs is not None or bool(named)


def _prompt_length(new: NewRequestData) -> int:
    if new.prompt_token_ids is not None:
        return len(new.prompt_token_ids)
    return len(new.prompt_embeds)
