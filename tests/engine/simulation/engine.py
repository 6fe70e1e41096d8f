"""The engine around the real steering: steps one after another, or two in flight."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from tests.engine.simulation.reference import WEIGHT, scripts_of
from tests.engine.simulation.requests import made
from tests.engine.simulation.runner_v1 import FakeV1
from tests.engine.simulation.runner_v2 import FakeV2
from tests.engine.simulation.scheduler import SimulatedScheduler
from tests.engine.simulation.stand_ins import RunnerV1, RunnerV2, SteeredSteps
from value_steer.config import OnError
from value_steer.engine import hooks
from value_steer.engine.abstain import Abstainer
from value_steer.engine.admission import (
    AbstainDefaults,
    Admission,
    FilterDefaults,
    HeadDefaults,
)
from value_steer.engine.delivery.lag import Lag
from value_steer.engine.filtering.late import Memory
from value_steer.engine.filtering.search import FallbackRule
from value_steer.engine.filtering.value_filter import ValueFilter
from value_steer.engine.forcing.forced import Forcing
from value_steer.engine.guard import Guard
from value_steer.engine.requests import RequestTable
from value_steer.engine.rows import Rows
from value_steer.engine.scheduling.mirror import Mirror
from value_steer.engine.scheduling.recording import Recorder
from value_steer.engine.scoring import Heads
from value_steer.engine.steering import Steering
from value_steer.engine.streaks import Streaks
from value_steer.value_probe import HeadCard

if TYPE_CHECKING:
    from tests.engine.simulation.requests import Request
    from tests.engine.simulation.traces import Trace

_CPU = torch.device("cpu")
_CARD = HeadCard(hidden_size=2)
_INSTANCE = "simulated"


def _defaults(sixteenths: int) -> HeadDefaults:
    return HeadDefaults(0, sixteenths / 16, _CARD)


class KeptRecorder(Recorder):
    """Keeps its lines.

    Attributes:
        answers: What they say, in their order.
    """

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self._path, self._left, self._ended = Path("kept"), 1 << 30, False
        self._places = {("abstain", 0): 0, ("vfd", 0): 1}

    def _write(self, content: bytes) -> None:
        self.answers += map(json.loads, content.splitlines())


class Engine:
    """One run of a trace.

    Attributes:
        scheduler: The host's, with the project's part over it.
        runner: The host's.
        steps: The steering.
        recorder: Keeps what is recorded.
        requests: Of the trace, in its order.
        prompts: Requests whose prompt's log-probabilities were given out.
        ahead: By how many positions the scheduler was ahead of the runner.
    """

    def __init__(self, trace: Trace, *, on_error: OnError = OnError.RAISE) -> None:
        self.trace = trace
        self._on_error = on_error
        self.scheduler = SimulatedScheduler(trace, _INSTANCE)
        self.scheduler._recorder = self.recorder = KeptRecorder()
        self.runner: Any = FakeV1(trace) if trace.runner == "v1" else FakeV2(trace)
        installed = hooks.install(self.runner)
        self.steps: Any = self._steered(installed)
        installed.calls.follow(self.steps)
        self.requests: list[Request] = [
            made(f"r{i}", ask, trace) for i, ask in enumerate(trace.asks)
        ]
        self.prompts: set[str] = set()
        self.ahead: set[int] = set()
        self._in_flight: deque[tuple[Any, Any]] = deque()

    def _steered(self, installed: hooks.Hooks) -> Any:
        trace, runner = self.trace, self.runner
        filtering = FilterDefaults(_defaults(trace.threshold), trace.candidates)
        abstention = None
        if trace.abstain is not None:
            abstention = AbstainDefaults(
                _defaults(trace.abstain), trace.first, scripts=scripts_of(trace)
            )
        self.table = RequestTable(Admission(abstention, filtering, trace.controls))
        self.memory = Memory()
        self.lag = Lag(self._held_token)
        v1 = trace.runner == "v1"
        self.filter = ValueFilter(
            score=lambda feature, _: feature[:, 0],
            table=self.table,
            runner=RunnerV1(runner) if v1 else RunnerV2(runner),
            draws=runner.draws,
            lag=self.lag,
            memory=self.memory,
            fallback=FallbackRule(trace.fallback, WEIGHT),
            guard=Guard(self._on_error),
            max_length=trace.longest,
        )
        row_ids: Any = (
            (lambda: runner.input_batch.req_ids)
            if v1
            else (lambda: installed.sampler.arguments[0].req_ids)
        )
        forcing = Forcing(scripts_of(trace), _CPU)
        steering = Steering(
            table=self.table,
            rows=Rows(8, _CPU),
            abstainer=Abstainer(
                Heads([lambda f: f[:, 1]]),
                Streaks(trace.patience, 4, _CPU),
                lambda mask: mask,
                forcing,
            ),
            value_filter=self.filter,
            forcing=forcing,
            row_ids=row_ids,
            guard=Guard(self._on_error),
        )
        mirror = Mirror(_INSTANCE)
        return SteeredSteps(steering, self.lag, mirror, installed.sampler, row_ids)

    def _held_token(self, name: str) -> int | None:
        request = self.table.get(name)
        holds = request is not None and request.filtered.holds
        return self.memory.token(name) if holds else None

    def run(self) -> None:
        """To the end of every request, and one step further."""
        left = dict(enumerate(self.requests))
        for count in range(self._patience()):
            for i, request in list(left.items()):
                if request.ask.at <= count:
                    self.scheduler.add_request(left.pop(i))
            self._disturb(count)
            if not (left or self.scheduler.requests or self._in_flight):
                break
            self._step()
        else:
            msg = "the engine hangs"
            raise AssertionError(msg)
        # The last step that an engine makes of a request says that it is over.
        self._execute(self.scheduler.schedule())

    def _patience(self) -> int:
        tokens = sum(
            ask.most * 2 * max(ask.candidates or 0, self.trace.candidates)
            for ask in self.trace.asks
        )
        return 100 + 20 * tokens * len(self.trace.asks)

    def _disturb(self, count: int) -> None:
        if count in self.trace.resets:
            self.scheduler.reset_prefix_cache()
        gone = [r.request_id for r in self.requests if r.ask.aborted == count]
        self.scheduler.abort(gone)

    def _step(self) -> None:
        """As the host's engine does with a queue of batches, or without one."""
        deferred = None
        if self.scheduler.requests or self.scheduler.finished_req_ids:
            step = self.scheduler.schedule()
            self._execute(step)
            if self._in_flight and step.pending_structured_output_tokens:
                deferred = step
            else:
                self._sample(step)
                if len(self._in_flight) < self.trace.depth and self.scheduler.requests:
                    return
        if self._in_flight:
            step, output = self._in_flight.popleft()
            given = output.get_output() if hasattr(output, "get_output") else output
            self.prompts |= given.prompt_logprobs_dict.keys()
            self.scheduler.update_from_output(step, given)
        if deferred is not None:
            self._sample(deferred)

    def _execute(self, step: Any) -> None:
        cached = step.scheduled_cached_reqs
        for name, computed in zip(cached.req_ids, cached.num_computed_tokens, strict=True):
            if name not in cached.resumed_req_ids:
                ahead = computed - self.runner.position(name)
                self.ahead.add(ahead)
                assert 0 <= ahead <= self.trace.depth - 1, f"{name} is scheduled {ahead} too far"
        self.runner.execute_model(step)

    def _sample(self, step: Any) -> None:
        if not step.total_num_scheduled_tokens:
            rows: list[str] = []
            empty = SimpleNamespace(
                req_ids=rows,
                req_id_to_index={},
                sampled_token_ids=[],
                logprobs=None,
                prompt_logprobs_dict={},
            )
            self._in_flight.append((step, empty))
            return
        output = self.runner.sample_tokens(self.scheduler.grammar(step))
        if self.trace.eager and hasattr(output, "get_output"):
            output = output.get_output()
        self._in_flight.append((step, output))
