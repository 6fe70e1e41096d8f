"""One step of an engine that decodes speculatively."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from value_steer.engine.abstain import StopTokens
from value_steer.engine.delivery.outbox import Delivery, Verdicts
from value_steer.engine.delivery.report import StepReport
from value_steer.engine.host_copy import upload
from value_steer.engine.speculation.judging import REJECTED, DraftCompletion, end_drafts
from value_steer.engine.speculation.rows import DraftRows
from value_steer.engine.steering import Steering
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from vllm.v1.core.sched.output import SchedulerOutput

    from value_steer.engine.speculation.judging import DraftJudge


class SpeculativeSteering(Steering):
    """Follows the requests of the engine, of which a step may give each several tokens.

    Args:
        judge: The decision to end a request.
        asynchronous: Whether a step is scheduled before the one ahead of it is known: as if all of
            its drafts had been accepted.
        device: Where the hidden states are.
        parts: See :class:`value_steer.engine.steering.Steering`.
    """

    def __init__(
        self, judge: DraftJudge, *, asynchronous: bool, device: torch.device, **parts: Any
    ) -> None:
        super().__init__(**parts)
        self._judge = judge
        self._asynchronous = asynchronous
        self._begun_anew: set[str] = set()
        self._line_of: dict[str, int] = {}
        self._rejected = torch.zeros(1, dtype=torch.int64, device=device)

    def begin(self, step: SchedulerOutput) -> None:
        """See :meth:`Steering.begin`; how far a request gets is known after the step only."""
        self.table.resettle()
        anew = (new.req_id for new in step.scheduled_new_reqs)
        self._begun_anew = {*anew, *step.scheduled_cached_reqs.resumed_req_ids}
        if not step.total_num_scheduled_tokens:
            self._line_of = {}  # by the next step the scheduler knows what became of the last one
        super().begin(step)

    def __call__(self, sample: Callable[[], Any], logits: Tensor, feature: Tensor | None) -> Any:
        """See :meth:`Steering.__call__`; ``logits`` and ``feature`` have a row per draft more."""
        began = time.perf_counter()
        ids = self._row_ids()
        rows = DraftRows.lay_out(ids, self.table, self._behind(ids))
        if rows.rows != len(logits):
            msg = f"the host samples {len(logits)} rows for {rows.rows} drafts and requests"
            raise SteeringError(msg)
        stop_tokens = judgement = None
        if rows.judged_lines:
            with self._guard:
                stop_tokens = StopTokens.read(logits, rows.flat.stop_tokens, rows.flat)
        sampling = time.perf_counter()
        output = sample()
        sampled = time.perf_counter()
        if stop_tokens is not None:
            with self._guard:
                states, tokens = self._states(feature, rows), output.sampled_token_ids
                judgement = self._judge.judge(states, rows, tokens, stop_tokens.possible)
                end_drafts(output, judgement, rows, stop_tokens.scores)
        self._note(ids, rows, output)
        report = StepReport(admitted=self._admitted, errors=self._new_failures())
        completion = DraftCompletion(judgement, rows)
        self.delivery = Delivery((), Verdicts(), self._over, report, completion)
        self._over, self._admitted = [], {}
        report.seconds = time.perf_counter() - began - (sampled - sampling)
        return output

    def _behind(self, ids: Sequence[str]) -> Tensor:
        """By how many tokens the scheduler is ahead of each request, ``[requests]`` int64."""
        # The last entry is of those that were not in the batch before.
        lines = [-1 if name in self._begun_anew else self._line_of.get(name, -1) for name in ids]
        return self._rejected[upload(lines, self._rejected)]

    def _note(self, ids: Sequence[str], rows: DraftRows, output: Any) -> None:
        """How many drafts of each request were rejected, which the next message does not know."""
        if not self._asynchronous:
            return
        given = (output.sampled_token_ids != REJECTED).sum(1)
        rejected = (rows.drafts + 1 - given).clamp(min=0) * (rows.drafts > 0)
        self._rejected = torch.cat([rejected, rejected.new_zeros(1)])
        self._line_of = {name: line for line, name in enumerate(ids)}

    def _states(self, feature: Tensor | None, rows: DraftRows) -> Tensor:
        if feature is None or len(feature) != rows.rows:
            seen = "none" if feature is None else str(len(feature))
            msg = f"compute_logits gave {seen} hidden states for {rows.rows} sampled rows"
            raise SteeringError(msg)
        return feature
