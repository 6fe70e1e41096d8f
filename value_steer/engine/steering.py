"""One step of the engine from end to end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from value_steer.engine.abstain import StopTokens
from value_steer.engine.guard import Guard
from value_steer.engine.ledger import Ledger
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from vllm.v1.core.sched.output import SchedulerOutput

    from value_steer.config import OnError
    from value_steer.engine.abstain import Abstainer
    from value_steer.engine.live_request import LiveRequest
    from value_steer.engine.requests import RequestTable
    from value_steer.engine.rows import Rows

logger = logging.getLogger("value_steer")


class Steering:
    """Follows the requests of the engine and acts on every batch that is sampled.

    Args:
        table: The live requests.
        rows: Buffers of the batch.
        abstainer: The decision.
        row_ids: The request ids of the batch being sampled, in row order.
        on_error: Whether an error ends the step or is counted and passed over.

    Attributes:
        ledger: Outcomes and counters.
        table: The live requests.
        epoch: Changes whenever anything but the sequence lengths does.
        fired: Rows that the last sampled batch ended, ``[rows]`` bool; ``None``: none was judged.
        feature: The hidden states that it was sampled from, ``[rows, hidden]``.
    """

    def __init__(
        self,
        table: RequestTable,
        rows: Rows,
        abstainer: Abstainer,
        row_ids: Callable[[], Sequence[str]],
        on_error: OnError,
    ) -> None:
        self.ledger = Ledger()
        self.table = table
        self._rows = rows
        self._abstainer = abstainer
        self._row_ids = row_ids
        self._guard = Guard(on_error, self.ledger.counters)
        self.epoch = 0
        self.fired: Tensor | None = None
        self.feature: Tensor | None = None

    def begin(self, step: SchedulerOutput) -> None:
        """Take in a step that the host is about to run."""
        with self._guard():
            for request_id in step.finished_req_ids:
                request = self.table.drop(request_id)
                if request is not None:
                    self.ledger.close(request_id, request)
            if self.table.advance(step):
                self.epoch += 1
                self._rows.ids = []
                for new in step.scheduled_new_reqs:
                    self._report(new.req_id, self.table[new.req_id])

    def __call__(self, sample: Callable[[], Any], logits: Tensor, feature: Tensor | None) -> Any:
        """Sample the batch and end the rows that the head gives up.

        Args:
            sample: Draws one token per row, as the host would.
            logits: ``[rows, vocabulary]``, after the grammar bitmask.
            feature: The hidden states they were computed from, ``[rows, hidden]``.

        Returns:
            The host's sampler output, changed in the rows that end.

        Raises:
            SteeringError: The batch cannot be judged, and ``on_error`` is ``raise``.
        """
        stop_tokens = self.fired = None
        self.feature = feature
        with self._guard():
            stop_tokens = self._look(logits)
        output = sample()
        if stop_tokens is not None:
            with self._guard():
                self._act(output, stop_tokens, feature)
        return output

    def _look(self, logits: Tensor) -> StopTokens | None:
        """Lay the rows out and read what the sampler will overwrite; ``None``: nothing to judge."""
        ids = self._row_ids()
        if ids != self._rows.ids:
            if len(ids) != len(logits):
                msg = f"the host samples {len(logits)} rows for {len(ids)} requests"
                raise SteeringError(msg)
            self._rows.plan(ids, self.table)
        return StopTokens.read(logits, self._rows) if self._rows.layout.judged_rows else None

    def _act(self, output: Any, stop_tokens: StopTokens, feature: Tensor | None) -> None:
        rows = self._rows
        if feature is None or len(feature) != len(rows.ids):
            seen = "none" if feature is None else str(len(feature))
            msg = f"compute_logits gave {seen} hidden states for {len(rows.ids)} sampled rows"
            raise SteeringError(msg)
        judgement = self._abstainer.judge(feature, rows, stop_tokens.possible)
        self.fired = judgement.fired
        self.ledger.record(judgement, rows.layout, self.table.age)
        if judgement.may_end:
            stop_tokens.end(output, judgement.fired, rows)

    def _report(self, request_id: str, request: LiveRequest) -> None:
        if request.refusal is not None:
            logger.error("request %s is ended at once: %s", request_id, request.refusal)
        if request.unendable and not self.ledger.counters.unendable:
            logger.warning(
                "request %s has no end-of-sequence id and no stop_token_ids, so it cannot be "
                "ended and is not steered; later ones like it are only counted",
                request_id,
            )
        self.ledger.counters.unendable += request.unendable
