"""The arithmetic of the host's asynchronous scheduler, over tokens only."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.engine.simulation import model
from tests.engine.simulation.requests import BLOCK, Pool, Request, Status, new_data
from value_steer.engine.scheduling.late import LateScheduling
from value_steer.engine.scheduling.reporting import SteeredScheduling

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.engine.simulation.traces import Trace


class HostScheduler:
    """First come, first served; prompts in chunks; the last one in is preempted first."""

    def __init__(self, trace: Trace, instance: str) -> None:
        self.trace = trace
        self.vllm_config = SimpleNamespace(instance_id=instance, additional_config={})
        self.max_model_len = trace.longest
        self.requests: dict[str, Request] = {}
        self.running: list[Request] = []
        self.waiting: deque[Request] = deque()
        self.pool = Pool(-(-trace.longest // BLOCK) + trace.blocks)
        self.finished_req_ids: set[str] = set()
        self._reset_preempted: set[str] = set()
        self._previous: set[str] = set()

    def add_request(self, request: Request) -> None:
        """Queue a request."""
        self.requests[request.request_id] = request
        self.waiting.append(request)

    def schedule(self) -> Any:
        """A step."""
        self._budget = self.trace.budget
        self._tokens: dict[str, int] = {}
        self._new_blocks: dict[str, list[int]] = {}
        preempted: list[Request] = []
        scheduled = self._schedule_running(preempted)
        new, resumed = ([], []) if preempted else self._schedule_waiting()
        step = self._message(scheduled, new, resumed)
        self._previous = set(self._tokens)
        self._update_after_schedule(step)
        return step

    def _schedule_running(self, preempted: list[Request]) -> list[Request]:
        scheduled, at = [], 0
        while at < len(self.running) and self._budget > 0:
            request = self.running[at]
            at += 1
            ahead = request.num_computed_tokens + 2 - request.num_output_placeholders
            most = request.num_prompt_tokens + request.max_tokens
            if request.num_output_placeholders > 0 and ahead >= most:
                continue
            tokens = min(
                request.num_tokens + request.num_output_placeholders - request.num_computed_tokens,
                self._budget,
                self.max_model_len - request.num_computed_tokens - 1,
            )
            if tokens == 0:
                continue
            assert tokens > 0, "a negative number of tokens is scheduled"
            while (new := self.pool.allocate(request, tokens)) is None:
                victim = self.running.pop()
                self._preempt_request(victim, 0.0)
                preempted.append(victim)
                if victim is request:
                    break
            if new is None:
                break
            self._take(request, tokens, new)
            scheduled.append(request)
        return scheduled

    def _schedule_waiting(self) -> tuple[list[Request], list[Request]]:
        new: list[Request] = []
        resumed: list[Request] = []
        skipped: list[Request] = []
        while self.waiting and self._budget > 0 and len(self.running) < self.trace.rows:
            request = self.waiting[0]
            stale = getattr(request, "num_stale_output_tokens", 0)
            if stale and not getattr(request, "drop_stale_output", False):
                skipped.append(self.waiting.popleft())
                continue
            tokens = min(request.num_tokens - request.num_computed_tokens, self._budget)
            blocks = self.pool.allocate(request, tokens)
            if blocks is None:
                break
            self.waiting.popleft()
            self.running.append(request)
            (new if request.status is Status.WAITING else resumed).append(request)
            request.status = Status.RUNNING
            self._take(request, tokens, blocks)
        self.waiting.extendleft(reversed(skipped))
        return new, resumed

    def _take(self, request: Request, tokens: int, blocks: list[int]) -> None:
        self._tokens[request.request_id] = tokens
        self._new_blocks[request.request_id] = blocks
        self._budget -= tokens

    def _message(self, running: list[Request], new: list[Request], resumed: list[Request]) -> Any:
        v2 = self.trace.runner == "v2"
        if v2:
            new, resumed = [*new, *resumed], []
        cached = [*running, *resumed]
        return SimpleNamespace(
            scheduled_new_reqs=[new_data(request, v2=v2) for request in new],
            scheduled_cached_reqs=SimpleNamespace(
                req_ids=[r.request_id for r in cached],
                resumed_req_ids={r.request_id for r in resumed},
                new_block_ids=[
                    list(r.blocks) if r in resumed else self._new_blocks[r.request_id]
                    for r in cached
                ],
                all_token_ids={
                    r.request_id: list(r.all_token_ids)
                    for r in cached
                    if not v2 and r.request_id not in self._previous
                },
                num_computed_tokens=[r.num_computed_tokens for r in cached],
                num_output_tokens=[r.num_output_tokens + r.num_output_placeholders for r in cached],
            ),
            num_scheduled_tokens=self._tokens,
            total_num_scheduled_tokens=sum(self._tokens.values()),
            scheduled_spec_decode_tokens={},
            finished_req_ids=self.finished_req_ids,
            preempted_req_ids=self._reset_preempted,
            pending_structured_output_tokens=False,
        )

    def _update_after_schedule(self, step: Any) -> None:
        for name, tokens in step.num_scheduled_tokens.items():
            request = self.requests[name]
            request.num_computed_tokens += tokens
            if hasattr(request, "num_in_flight_tokens"):
                request.num_in_flight_tokens += tokens
            ahead = request.num_tokens + request.num_output_placeholders
            request.is_prefill_chunk = request.num_computed_tokens < ahead
            if request.is_prefill_chunk:
                continue
            pending = request.ask.grammar and request.num_output_placeholders > 0
            step.pending_structured_output_tokens |= pending
            request.num_output_placeholders += 1
        self.finished_req_ids, self._reset_preempted = set(), set()

    def grammar(self, step: Any) -> dict[str, tuple[bool, ...]]:
        """What the grammars allow next, as far as the tokens are known here."""
        requests = [self.requests[n] for n in step.num_scheduled_tokens if n in self.requests]
        return {
            r.request_id: model.allowed(self.trace.salt, r.response)
            for r in requests
            if r.ask.grammar
        }

    def update_from_output(self, step: Any, output: Any) -> None:
        """Take in the output of a step."""
        stopped = []
        for name, tokens in step.num_scheduled_tokens.items():
            request = self.requests.get(name)
            if request is None:
                continue
            stale = self._drain(request, tokens)
            if request.is_finished() or (stale and getattr(request, "drop_stale_output", False)):
                continue
            row = output.req_id_to_index[name]
            given = output.sampled_token_ids[row]
            over = False
            if given:
                mask = model.allowed(self.trace.salt, request.response)
                given, over = self._update_request_with_output(request, given, stale)
                assert not given or not request.ask.grammar or mask[given[0]], "grammar: rejected"
            if given and request.ask.logprobs is not None:
                request.scores.append(output.logprobs.slice_request(row, 1))
            assert given or not output.prompt_logprobs_dict.get(name)
            if over:
                self._free_request(request)
                stopped.append(request)
        self.running = [r for r in self.running if r not in stopped]
        self.waiting = deque(r for r in self.waiting if r not in stopped)

    @staticmethod
    def _drain(request: Request, tokens: int) -> bool:
        if not hasattr(request, "num_in_flight_tokens"):
            return False
        counted: Any = request
        counted.num_in_flight_tokens -= tokens
        if not counted.num_stale_output_tokens:
            return False
        counted.num_stale_output_tokens -= tokens
        assert counted.num_stale_output_tokens >= 0
        return True

    def _update_request_with_output(
        self,
        request: Any,
        given: list[int],
        is_stale: bool = False,  # noqa: FBT001, FBT002  (as the host has it)
    ) -> tuple[list[int], bool]:
        if getattr(request, "discard_latest_async_tokens", False):
            request.discard_latest_async_tokens = False
            return [], False
        if getattr(request, "async_tokens_to_discard", 0):
            request.async_tokens_to_discard -= 1
            return [], False
        request.all_token_ids.append(given[0])
        over = model.stops(request.ask, self.max_model_len, request.response)
        if over is not None:
            request.status = Status(over)
        if not is_stale:
            request.num_output_placeholders -= 1
            assert request.num_output_placeholders >= 0, "more tokens than placeholders"
        return given, over is not None

    def _preempt_request(
        self,
        request: Any,
        timestamp: float,
        drop_stale_output: bool = False,  # noqa: FBT001, FBT002  (as the host has it)
    ) -> None:
        del timestamp
        assert request.status is Status.RUNNING
        self.pool.free(request)
        request.status = Status.PREEMPTED
        request.num_computed_tokens = 0
        request.preemptions += 1
        if hasattr(request, "num_in_flight_tokens"):
            kept = request.drop_stale_output and request.num_stale_output_tokens > 0
            request.drop_stale_output = drop_stale_output or kept
            request.num_stale_output_tokens = request.num_in_flight_tokens
            request.num_output_placeholders = 0
        self.waiting.appendleft(request)
        self._reset_preempted.add(request.request_id)

    def reset_prefix_cache(self) -> bool:
        """Begin all running requests anew."""
        while self.running:
            request: Any = self.running.pop()
            if hasattr(request, "num_in_flight_tokens"):
                self._preempt_request(request, 0.0, drop_stale_output=True)
                continue
            self._preempt_request(request, 0.0)
            if hasattr(request, "async_tokens_to_discard"):
                request.async_tokens_to_discard = request.num_output_placeholders
            else:
                request.discard_latest_async_tokens = True
            request.num_output_placeholders = 0
        self._previous = set()
        return True

    def abort(self, names: Collection[str]) -> None:
        """End requests that their clients gave up."""
        for name in names:
            request = self.requests.get(name)
            if request is None:
                continue
            self.running = [r for r in self.running if r is not request]
            self.waiting = deque(r for r in self.waiting if r is not request)
            request.status = Status.ABORTED
            self._free_request(request)

    def _free_request(self, request: Request) -> None:
        assert request.is_finished()
        self.finished_req_ids.add(request.request_id)
        self.pool.free(request)
        del self.requests[request.request_id]


class SimulatedScheduler(LateScheduling, SteeredScheduling, HostScheduler):
    """The project's part over the host's."""
