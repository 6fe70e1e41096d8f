"""What became of each request, and what the process has done: nothing happens unseen."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from value_steer.engine.abstain import Judgement
    from value_steer.engine.live_request import LiveRequest
    from value_steer.engine.rows import Layout


@dataclass(slots=True)
class Counters:
    """Totals of this process since it started.

    Attributes:
        judged: Hidden states judged.
        abstained: Requests ended by the head.
        refused: Requests ended because their own settings were wrong.
        unendable: Requests without a stop token, which cannot be ended and are not steered.
        filtered: Sampled tokens that value filtering judged.
        repeated: Steps that gave a request no token because the head objected to it.
        interventions: Tokens committed in place of the one that the model drew.
        no_acceptable: Tokens for which no candidate was acceptable.
        unscored: Tokens committed without a judgement, in steps served after an error.
        swallowed_errors: Steps served unsteered after an error, under ``on_error: passthrough``.
    """

    judged: int = 0
    abstained: int = 0
    refused: int = 0
    unendable: int = 0
    filtered: int = 0
    repeated: int = 0
    interventions: int = 0
    no_acceptable: int = 0
    unscored: int = 0
    swallowed_errors: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What steering did to one finished request.

    Attributes:
        request_id: The engine's id of the request.
        abstained: Whether the head ended it.
        refused: Why its own settings were refused, which ended it; else ``None``.
        response_tokens: Response tokens kept when it was ended (the stop token not counted), or
            ``None`` if it ended by itself.
        value: The value that ended it, or the last one seen; ``None`` if it was never judged.
        threshold: The threshold that applied, ``None`` if the request was not steered.
        interventions: Tokens committed in place of the one that the model drew.
        no_acceptable: Tokens for which no candidate was acceptable.
        unscored: Tokens committed without a judgement, in steps served after an error.
        p_undesirable: Value filtering's head after the last committed token, ``None`` if it never
            judged the request.
        vfd_threshold: Value filtering's threshold, ``None`` if the request was not filtered.
    """

    request_id: str
    abstained: bool
    refused: str | None
    response_tokens: int | None
    value: float | None
    threshold: float | None
    interventions: int = 0
    no_acceptable: int = 0
    unscored: int = 0
    p_undesirable: float | None = None
    vfd_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class _Firing:
    """Where and at which value a request was ended."""

    response_tokens: int
    value: float


@dataclass(frozen=True, slots=True)
class _Batch:
    """One judged batch on its way to the host, ``age`` steps after its rows were laid out."""

    layout: Layout
    age: int
    judgement: Judgement
    ready: torch.cuda.Event | None


class Ledger:
    """Keeps the outcomes of the last ``capacity`` finished requests and the process counters.

    Reading a mask back from an accelerator would stall it, so batches wait here until their
    copies have arrived; on the CPU they are read at once.
    """

    # A request is closed once the step that ended it is complete; with asynchronous scheduling
    # one further step, already running by then, may hold its row.
    _STEPS_IN_FLIGHT = 1

    def __init__(self, capacity: int = 10_000) -> None:
        self.counters = Counters()
        self._outcomes: deque[Outcome] = deque(maxlen=capacity)
        self._waiting: deque[_Batch] = deque()
        self._layout: Layout | None = None
        self._latest: _Batch | None = None
        self._open: set[str] = set()
        self._firings: dict[str, _Firing] = {}
        self._values: dict[str, float] = {}

    def record(self, judgement: Judgement, layout: Layout, age: int) -> None:
        """Note a judged batch, ``age`` steps after its rows were laid out."""
        self.counters.judged += layout.judged_rows
        if layout is not self._layout:
            self._layout = layout
            self._open.update(layout.ids)
        ready = None
        if judgement.flags is None:
            judgement, ready = _on_its_way(judgement)
        self._waiting.append(_Batch(layout, age, judgement, ready))
        self._read_arrived()

    def end(self, request_id: str, response_tokens: int, value: float) -> None:
        """Value filtering ends a request for which no candidate was acceptable.

        Args:
            request_id: The request.
            response_tokens: Tokens kept.
            value: P(good) after the best candidate.
        """
        self._firings.setdefault(request_id, _Firing(response_tokens, value))

    def close(self, request_id: str, request: LiveRequest) -> None:
        """A request has finished: its outcome is final."""
        for batch in list(self._waiting)[: -self._STEPS_IN_FLIGHT]:
            _await(batch)
        self._read_arrived()
        firing = self._firings.pop(request_id, None)
        last_value = self._last_value(request_id)
        self._open.discard(request_id)
        value = firing.value if firing else last_value
        abstained = firing is not None and request.refusal is None
        self.counters.abstained += abstained
        self.counters.refused += request.refusal is not None
        self._outcomes.append(
            Outcome(
                request_id=request_id,
                abstained=abstained,
                refused=request.refusal,
                response_tokens=firing.response_tokens if firing else None,
                value=value,
                threshold=request.threshold if request.refusal is None else None,
                interventions=request.filtered.interventions,
                no_acceptable=request.filtered.no_acceptable,
                unscored=request.filtered.unscored,
                p_undesirable=request.filtered.p_undesirable,
                vfd_threshold=request.vfd_threshold,
            )
        )

    def outcomes(self) -> list[Outcome]:
        """The outcomes kept, oldest first."""
        return list(self._outcomes)

    def _read_arrived(self) -> None:
        while self._waiting and _arrived(self._waiting[0]):
            self._read(self._waiting.popleft())

    def _read(self, batch: _Batch) -> None:
        if self._latest is not None and self._latest.layout is not batch.layout:
            self._keep_values(self._latest)
        self._latest = batch
        flags = batch.judgement.flags or batch.judgement.fired.tolist()
        if True in flags:
            for row, fired in enumerate(flags):
                if fired and batch.layout.ids[row] in self._open:
                    self._fire(batch, row)

    def _fire(self, batch: _Batch, row: int) -> None:
        value = batch.judgement.values[row].item()
        firing = _Firing(batch.layout.response[row] + batch.age, value)
        self._firings.setdefault(batch.layout.ids[row], firing)

    def _keep_values(self, batch: _Batch) -> None:
        """Keep the values of rows that the next batch may not hold any more."""
        layout, values = batch.layout, batch.judgement.values.tolist()
        for request_id, judged, value in zip(layout.ids, layout.judged, values, strict=True):
            if judged and request_id in self._open:
                self._values[request_id] = value

    def _last_value(self, request_id: str) -> float | None:
        if self._latest is not None:
            self._keep_values(self._latest)
            self._latest = None
        return self._values.pop(request_id, None)


def _arrived(batch: _Batch) -> bool:
    return batch.ready is None or batch.ready.query()


def _await(batch: _Batch) -> None:
    if batch.ready is not None:
        batch.ready.synchronize()


def _on_its_way(judgement: Judgement) -> tuple[Judgement, torch.cuda.Event]:
    """The judgement in host memory that a copy is filling, and the event of its arrival."""
    copied = replace(judgement, values=_copy(judgement.values), fired=_copy(judgement.fired))
    ready = torch.cuda.Event()
    ready.record()
    return copied, ready


def _copy(tensor: Tensor) -> Tensor:
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
