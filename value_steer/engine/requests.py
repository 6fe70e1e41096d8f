"""The live requests, kept current from the scheduler's own messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vllm.v1.core.sched.output import NewRequestData, SchedulerOutput

    from value_steer.engine.admission import Admission
    from value_steer.engine.live_request import LiveRequest


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
        self._admitted_by: dict[str, Admission] = {}
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
        self._admitted_by.pop(request_id, None)
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
        # Thresholds that have changed meanwhile apply to the requests that come from then on.
        admit = self._admitted_by.setdefault(new.req_id, self.admit)
        request = admit(new, slot)
        if known is not None:
            request.filtered.search = known.filtered.search
            request.filtered.drawn = known.filtered.drawn
            request.refuses_next = known.refuses_next
            # A session's next piece makes another prompt of it.
            request.followed = known.followed and known.prompt_length == request.prompt_length
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
