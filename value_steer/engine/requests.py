"""What is known of each live request, kept current from the scheduler's own messages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.config import NEVER, Threshold
from value_steer.engine.live_request import LiveRequest
from value_steer.errors import CalibrationError, SettingsError
from value_steer.operating_point import resolve_vfd_request
from value_steer.request_settings import MOST_CANDIDATES, RequestSettings, Trial, parse_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vllm.sampling_params import SamplingParams
    from vllm.v1.core.sched.output import NewRequestData, SchedulerOutput

    from value_steer.value_probe import HeadCard

_GREEDY_BELOW = 1e-5
"""The temperature below which vLLM's sampler is greedy."""


@dataclass(frozen=True, slots=True)
class FilterDefaults:
    """What the engine filters by, which a request may override.

    Attributes:
        threshold: P(undesirable) from which on a token is unacceptable.
        candidates: Draws per token at most.
        card: Of the head, to resolve a request's own operating point.
        most: Draws per token that a request may ask for at most.
    """

    threshold: Threshold
    candidates: int
    card: HeadCard
    most: int = MOST_CANDIDATES


@dataclass(frozen=True, slots=True)
class Admission:
    """How a request that enters the engine becomes a :class:`LiveRequest`.

    Attributes:
        threshold: The engine's threshold for abstention, which a request may override; ``None``
            if the engine does not abstain.
        min_tokens: Response tokens before the first judged one; 0 judges the prompt as well.
        filtering: The engine's value filtering; ``None`` if it does not filter.
    """

    threshold: Threshold | None
    min_tokens: int
    filtering: FilterDefaults | None = None

    def __call__(self, new: NewRequestData, slot: int) -> LiveRequest:
        """Read what a new request asks for.

        A request whose own settings are wrong is ended at its first token: a worker can refuse
        nothing, and serving it unsteered would be the one thing nobody asked for.
        """
        params = new.sampling_params
        try:
            own, refusal = parse_request(params.extra_args), None
            filtering = self._filtering(own)
        except (SettingsError, CalibrationError) as error:
            own, refusal, filtering = RequestSettings(steer=False), str(error), None
        forced = refusal is not None or (own.steer and own.steer_test is Trial.ABSTAIN)
        threshold = math.inf if forced else self._threshold(own, params)
        stop_token = _stop_token(params)
        earliest = params.min_tokens if refusal else max(self.min_tokens, params.min_tokens)
        prompt_length = _prompt_length(new)
        return LiveRequest(
            prompt_length=prompt_length,
            threshold=None if stop_token is None else threshold,
            first_judged=prompt_length + earliest,
            first_endable=prompt_length + params.min_tokens,
            stop_token=-1 if stop_token is None else stop_token,
            constrained=params.structured_outputs is not None,
            wants_logprobs=params.logprobs is not None,
            slot=slot,
            vfd_threshold=filtering,
            candidates=self._candidates(own),
            greedy=params.temperature < _GREEDY_BELOW,
            unendable=stop_token is None and self.threshold is not None,
            keeps_values=own.steer_values,
            refuses_next=filtering is not None and own.steer_test is Trial.INTERVENE,
            refusal=refusal,
        )

    def _threshold(self, own: RequestSettings, params: SamplingParams) -> float | None:
        if self.threshold is None:
            return None
        chosen = self.threshold if own.abstain_threshold is None else own.abstain_threshold
        if not own.steer or params.ignore_eos or chosen == NEVER:
            return None
        return float(chosen)

    def _filtering(self, own: RequestSettings) -> float | None:
        if self.filtering is None or not own.steer:
            return None
        check_candidates(own, self.filtering.most)
        chosen = resolve_vfd_request(own, self.filtering.threshold, self.filtering.card)
        return None if chosen == NEVER else float(chosen)

    def _candidates(self, own: RequestSettings) -> int:
        if self.filtering is None:
            return 1
        return own.vfd_num_candidates or self.filtering.candidates


def check_candidates(own: RequestSettings, most: int) -> None:
    """Check what a request asks for against what the operator allows.

    Raises:
        SettingsError: It asks for more.
    """
    asked = own.vfd_num_candidates
    if asked is not None and asked > most:
        msg = f"extra_args.vfd_num_candidates = {asked}: this engine allows {most} at most"
        raise SettingsError(msg)


def _stop_token(params: SamplingParams) -> int | None:
    """The token id on which the scheduler ends this request."""
    if params.eos_token_id is not None:
        return params.eos_token_id
    return min(params.stop_token_ids, default=None)


def _prompt_length(new: NewRequestData) -> int:
    if new.prompt_token_ids is not None:
        return len(new.prompt_token_ids)
    return len(new.prompt_embeds)


class RequestTable:
    """All live requests, updated once per step.

    Most steps continue the last one: the same requests, one token each. They are recognised from
    a few counts, and nothing is recomputed for them.

    Attributes:
        admit: Makes a live request of a new one; may be exchanged, for those that come then.
        age: Tokens by which every request has grown since anything else changed.
    """

    def __init__(self, admit: Admission) -> None:
        self.admit = admit
        self._live: dict[str, LiveRequest] = {}
        self._free_slots: list[int] = []
        self._scheduled: list[LiveRequest] = []
        self._steady_ids: list[str] | None = None
        self._steady_sum = 0
        self._steps_until_change = 0
        self._judging = False
        self.age = 0

    def __getitem__(self, request_id: str) -> LiveRequest:
        return self._live[request_id]

    def get(self, request_id: str) -> LiveRequest | None:
        """A live request; ``None`` if there is none of that id."""
        return self._live.get(request_id)

    def length(self, request: LiveRequest) -> int:
        """Tokens in the sequence that the last step of a request completed."""
        scheduled = any(one is request for one in self._scheduled)
        return request.length + (self.age if scheduled else 0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._live)

    def __len__(self) -> int:
        return len(self._live)

    def advance(self, step: SchedulerOutput) -> bool:
        """Take in a step that is about to run.

        Returns:
            Whether anything but the sequence lengths changed. If not, ``age`` says by how many
            tokens every request has grown since it last did.
        """
        if self._continues(step) and self.age + 1 < self._steps_until_change:
            self.age += 1
            self._steady_sum += len(step.num_scheduled_tokens)
            return False
        self._settle(step)
        return True

    def repeat(self, request: LiveRequest) -> None:
        """A request does not grow in this step; it takes its last position again."""
        request.length -= 1
        self._steady_sum -= 1
        if self._judging:
            self.resettle()

    def resettle(self) -> None:
        """The next step is not one that continues this one."""
        self._steady_ids = None

    def drop(self, request_id: str) -> LiveRequest | None:
        """Forget a finished request."""
        request = self._live.pop(request_id, None)
        if request is not None:
            self._free_slots.append(request.slot)
            self._steady_ids = None
        return request

    def _continues(self, step: SchedulerOutput) -> bool:
        cached = step.scheduled_cached_reqs
        return (
            self._steady_ids is not None
            and not step.scheduled_new_reqs
            and not cached.resumed_req_ids
            and step.total_num_scheduled_tokens == len(step.num_scheduled_tokens)
            and cached.req_ids == self._steady_ids
            and sum(cached.num_computed_tokens) == self._steady_sum
        )

    def _settle(self, step: SchedulerOutput) -> None:
        for request in self._scheduled:  # those that are left out now keep what they came to
            request.length += self.age
        self.age = 0
        for new in step.scheduled_new_reqs:
            request = self._enter(new)
            known = len(getattr(new, "prefill_token_ids", None) or ()) or request.prompt_length
            self._reach(request, step, new.req_id, new.num_computed_tokens)
            request.complete = request.length >= known
        cached = step.scheduled_cached_reqs
        for i, request_id in enumerate(cached.req_ids):
            request = self._live[request_id]
            if request_id in cached.resumed_req_ids:
                request.filtered.holds = request.filtered.decided = False
            known = request.prompt_length + cached.num_output_tokens[i]
            self._reach(request, step, request_id, cached.num_computed_tokens[i])
            request.complete = request.length >= known
        self._foresee(step)

    @staticmethod
    def _reach(request: LiveRequest, step: SchedulerOutput, name: str, computed: int) -> None:
        """Note to which length of its sequence a step brings a request."""
        request.drafts = len(step.scheduled_spec_decode_tokens.get(name, ()))
        request.length = computed + step.num_scheduled_tokens[name] - request.drafts

    def _enter(self, new: NewRequestData) -> LiveRequest:
        """Admit a request; one that is known already comes back after a preemption or an edit."""
        known = self._live.get(new.req_id)
        if known is not None:
            slot = known.slot
        else:
            slot = self._free_slots.pop() if self._free_slots else len(self._live)
        request = self.admit(new, slot)
        if known is not None:
            request.filtered.search = known.filtered.search
            request.filtered.drawn = known.filtered.drawn
            request.refuses_next = known.refuses_next
            known.filtered.holds = False  # what it held is lost
        self._live[new.req_id] = request
        return request

    def _foresee(self, step: SchedulerOutput) -> None:
        """For how many further steps of one token each the rows stay what they are now."""
        self._scheduled = [self._live[request_id] for request_id in step.num_scheduled_tokens]
        if not all(request.complete for request in self._scheduled):
            self._steady_ids = None
            return
        waiting = [r for r in self._scheduled if r.threshold is not None]
        self._judging = bool(waiting)
        waits = (r.first_judged - r.length for r in waiting)
        self._steps_until_change = min((w for w in waits if w > 0), default=1 << 62)
        ids = [new.req_id for new in step.scheduled_new_reqs]
        self._steady_ids = [*step.scheduled_cached_reqs.req_ids, *ids]
        self._steady_sum = sum(request.length for request in self._scheduled)
