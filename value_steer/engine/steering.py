"""One step of the engine from end to end."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from value_steer.engine.delivery.outbox import Delivery, Verdicts
from value_steer.engine.delivery.report import Admitted, Ending, StepReport
from value_steer.engine.forcing.forced import BEGINS, ENDS, FORCED
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from vllm.v1.core.sched.output import SchedulerOutput

    from value_steer.engine.abstain import Abstainer, Judgement
    from value_steer.engine.filtering.held import Look
    from value_steer.engine.filtering.value_filter import ValueFilter
    from value_steer.engine.forcing.forced import Forcing
    from value_steer.engine.guard import Guard
    from value_steer.engine.live_request import LiveRequest
    from value_steer.engine.requests import RequestTable
    from value_steer.engine.rows import Layout, Rows

logger = logging.getLogger("value_steer")


class Steering:
    """Follows the requests of the engine and acts on every batch that is sampled.

    Args:
        table: The live requests.
        rows: Buffers of the batch.
        abstainer: The decision to end a request.
        value_filter: Filters the sampled tokens; ``None`` if the engine does not.
        forcing: What rows do that abstention fires for.
        row_ids: The request ids of the batch being sampled, in row order.
        guard: Surrounds the decisions of abstention.

    Attributes:
        delivery: What the batch that was sampled last gives out; ``None`` once it is taken.
    """

    def __init__(  # noqa: PLR0913  (the parts it is made of, by name)
        self,
        *,
        table: RequestTable,
        rows: Rows,
        abstainer: Abstainer,
        value_filter: ValueFilter | None,
        forcing: Forcing,
        row_ids: Callable[[], Sequence[str]],
        guard: Guard,
    ) -> None:
        self.table = table
        self.delivery: Delivery | None = None
        self._rows = rows
        self._abstainer = abstainer
        self._filter = value_filter
        self._forcing = forcing
        self._row_ids = row_ids
        self._guard = guard
        self._guards = [guard] if value_filter is None else [guard, value_filter.guard]
        self._failures = 0
        self._over: list[str] = []
        self._admitted: dict[str, Admitted] = {}

    def begin(self, step: SchedulerOutput) -> None:
        """Take in a step that the host is about to run."""
        for request_id in step.finished_req_ids:
            if (request := self.table.drop(request_id)) is not None:
                self._over.append(request_id)
                # Else what its token was sampled from would be kept for it.
                request.filtered.holds = False
            if self._filter is not None:
                self._filter.forget(request_id)
        if self._filter is not None:
            anew = [new.req_id for new in step.scheduled_new_reqs]
            self._filter.interrupted((*step.scheduled_cached_reqs.resumed_req_ids, *anew))
        if self.table.advance(step):
            self._rows.ids = []
            for new in step.scheduled_new_reqs:
                self._admit(new.req_id, self.table[new.req_id])

    def __call__(self, sample: Callable[[], Any], logits: Tensor, feature: Tensor | None) -> Any:
        """Sample the batch, end the rows that the head gives up, filter the others.

        Args:
            sample: Draws one token per row, as the host would.
            logits: ``[rows, vocabulary]``, after the grammar bitmask.
            feature: The hidden states they were computed from, ``[rows, hidden]``.

        Returns:
            The host's sampler output, changed where a decision says so.

        Raises:
            SteeringError: The batch cannot be judged, and ``on_error`` is ``raise``.
        """
        began = time.perf_counter()
        self._lay_out(len(logits))
        self._rows.age = self.table.age
        judgement = stop_tokens = None
        looked, look = self._look(feature)
        if self._rows.layout.judged_rows or self._forcing.active:
            with self._guard:
                refused = None if look is None else look.refused
                judgement, stop_tokens = self._abstainer.judge(
                    self._checked(feature), self._rows, logits, refused
                )
        sampling = time.perf_counter()
        rewound = self._filter.rewound() if self._filter is not None else ()
        output = sample()
        for source, state in rewound:
            source.set_state(state)
        sampled = time.perf_counter()
        if judgement is not None and stop_tokens is not None and judgement.may_force:
            with self._guard:
                stop_tokens.force(output, judgement)
        report = StepReport(admitted=self._admitted)
        verdicts = self._decide(looked, look, output, judgement, report)
        self._follow(output, verdicts)
        report.errors = self._new_failures()
        late = () if self._filter is None else self._filter.late
        completion = Completion(judgement, look, self._rows.layout, self._rows.age)
        self.delivery = Delivery(late, verdicts, self._over, report, completion)
        self._over, self._admitted = [], {}
        report.seconds = time.perf_counter() - began - (sampled - sampling)
        return output

    def _look(self, feature: Tensor | None) -> tuple[bool, Look | None]:
        """The head's scores of held tokens, and whether it could be asked."""
        if self._filter is None or not self._filter.late:
            return True, None
        looked, look = False, None
        with self._filter.guard:
            look = self._filter.look(self._checked(feature))
            looked = True
        return looked, look

    def _decide(
        self,
        looked: bool,  # noqa: FBT001  (of the step, as all the others)
        look: Look | None,
        output: Any,
        judgement: Judgement | None,
        report: StepReport,
    ) -> Verdicts:
        """Decide about the filtered rows."""
        if self._filter is None or not self._filter.late:
            return Verdicts()
        forced = [False] * len(self._rows.ids)
        decided = None if judgement is None else judgement.arrived()
        for row in () if decided is None or decided.quiet else decided.rows(FORCED):
            forced[row] = True
        verdicts = None
        if looked:
            with self._filter.guard:
                verdicts = self._filter.decide(look, output, forced, report)
        if verdicts is None:
            verdicts = self._filter.pass_through(output, forced, report)
        return verdicts

    def _follow(self, output: Any, verdicts: Verdicts) -> None:
        """Let what requests are made to say follow the tokens that they end in now."""
        if self._forcing.active:
            again = verdicts.again | verdicts.emptied
            rows = [row for row, name in enumerate(self._rows.ids) if name in again]
            self._forcing.follow(self._rows.positions, output.sampled_token_ids[:, 0], rows)

    def _lay_out(self, rows: int) -> None:
        ids = self._row_ids()
        if ids == self._rows.ids:
            return
        if len(ids) != rows:
            msg = f"the host samples {rows} rows for {len(ids)} requests"
            raise SteeringError(msg)
        self._rows.plan(ids, self.table)
        requests = [self.table[name] for name in ids]
        self._forcing.lay_out(requests, self._rows.slots)
        if self._filter is not None:
            self._filter.lay_out(self._rows.ids)

    def _checked(self, feature: Tensor | None) -> Tensor:
        if feature is None or len(feature) != len(self._rows.ids):
            seen = "none" if feature is None else str(len(feature))
            msg = f"compute_logits gave {seen} hidden states for {len(self._rows.ids)} sampled rows"
            raise SteeringError(msg)
        return feature

    def _new_failures(self) -> int:
        before, self._failures = self._failures, sum(guard.failures for guard in self._guards)
        return self._failures - before

    def _admit(self, request_id: str, request: LiveRequest) -> None:
        self._admitted[request_id] = Admitted(
            threshold=request.threshold if request.refusal is None else None,
            vfd_threshold=request.vfd_threshold,
            refusal=request.refusal,
            unendable=request.unendable,
            keeps_values=request.keeps_values,
            action=request.action,
            control=request.control,
            head=request.head,
            vfd_head=request.vfd_head,
        )
        if request.refusal is not None:
            endable = request.stop_token >= 0
            what = "is ended at once" if endable else "runs on unsteered, since it ignores its end"
            logger.error("request %s %s: %s", request_id, what, request.refusal)


@dataclass(frozen=True, slots=True)
class Completion:
    """Completes the report of a step with what was on its way from the device."""

    judgement: Judgement | None
    look: Look | None
    layout: Layout
    age: int

    def __call__(self, report: StepReport) -> dict[str, Ending]:
        """Write the values; returns why the sampled tokens end requests, by request."""
        if self.judgement is None:
            return {}
        decided = self.judgement.arrived()
        judged = self.layout.judged
        if self.look is not None:
            judged = judged & ~self.look.copies.arrived()[1]
        report.positions = self.layout.lengths + self.age
        report.p_good = decided.values
        if judged is not self.layout.judged or self.layout.judged_rows < len(judged):
            report.p_good = np.where(judged, decided.values, np.float32(np.nan))
        if decided.quiet:
            return {}
        for row in decided.rows(BEGINS):
            responses = report.positions - self.layout.prompts
            report.begins[self.layout.ids[row]] = int(responses[row])
        return {self.layout.ids[row]: self.layout.endings[row] for row in decided.rows(ENDS)}
