"""The simulation can fail: without any one of the edits that late delivery is made of, it does."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.engine.simulation.check import failed
from tests.engine.simulation.stand_ins import RunnerV1, RunnerV2
from tests.engine.simulation.traces import drawn
from value_steer.engine.abstain import Abstainer
from value_steer.engine.delivery.lag import Lag
from value_steer.engine.delivery.outbox import Outbox
from value_steer.engine.filtering.held import HeldTokens
from value_steer.engine.filtering.late import Memory
from value_steer.engine.filtering.value_filter import ValueFilter
from value_steer.engine.live_request import LiveRequest
from value_steer.engine.requests import RequestTable
from value_steer.engine.rows import Rows
from value_steer.engine.scheduling.late import LateScheduling
from value_steer.engine.scheduling.reporting import SteeredScheduling
from value_steer.engine.scheduling.stale import StaleOutputs
from value_steer.engine.scheduling.sums import Running
from value_steer.engine.streaks import Streaks

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 1_500
"""Traces in which a mutation has to show."""

Change = tuple[Any, str, Any]


def _without(*changes: Change) -> Callable[[pytest.MonkeyPatch], None]:
    def apply(patch: pytest.MonkeyPatch) -> None:
        for owner, name, replacement in changes:
            patch.setattr(owner, name, replacement)

    return apply


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _take_back(patch: pytest.MonkeyPatch) -> None:
    """The scheduler does not learn that a request got no token."""
    update = LateScheduling.update_from_output

    def without(self: Any, step: Any, output: Any) -> Any:
        if (report := getattr(output, "value_steer", None)) is not None:
            report.repeated = []
        return update(self, step, output)

    patch.setattr(LateScheduling, "update_from_output", without)


def _longer_model(patch: pytest.MonkeyPatch) -> None:
    """``schedule`` with the sequence's own limit."""

    def schedule(self: Any) -> Any:
        raised = list(self._last_tokens())
        for request, more in raised:
            request.max_tokens += more
        step = super(LateScheduling, self).schedule()
        for request, more in raised:
            request.max_tokens -= more
        self._stale.scheduled(step)
        return step

    patch.setattr(LateScheduling, "schedule", schedule)


def _search_forgotten(patch: pytest.MonkeyPatch) -> None:
    settle = RequestTable._settle

    def without(self: Any, step: Any) -> None:
        back = [new.req_id for new in step.scheduled_new_reqs]
        back += step.scheduled_cached_reqs.resumed_req_ids
        for name in back:
            if (request := self.get(name)) is not None:
                request.filtered.search = None
        settle(self, step)

    patch.setattr(RequestTable, "_settle", without)


def _refused_unmasked(patch: pytest.MonkeyPatch) -> None:
    judge = Abstainer.judge
    patch.setattr(
        Abstainer,
        "judge",
        lambda self, feature, rows, possible, _: judge(self, feature, rows, possible, None),
    )


def _decided_judged(patch: pytest.MonkeyPatch) -> None:
    prepare = HeldTokens._prepare

    def without(self: Any, feature: Any) -> None:
        decided = [one.request.filtered for one in self._rows if one.request.filtered.decided]
        for filtered in decided:
            filtered.decided = False
        prepare(self, feature)
        for filtered in decided:
            filtered.decided = True
        self.special = self._stale = True

    patch.setattr(HeldTokens, "_prepare", without)


def _memory_unkept(patch: pytest.MonkeyPatch) -> None:
    note = Memory.note
    patch.setattr(Memory, "note", lambda self, sampled, _: note(self, sampled, []))


def _streaks_inherited(patch: pytest.MonkeyPatch) -> None:
    plan = Rows.plan

    def without(self: Any, ids: Any, table: Any) -> None:
        plan(self, ids, table)
        self._begun.fill_(0)

    patch.setattr(Rows, "plan", without)


def _judged_again(patch: pytest.MonkeyPatch) -> None:
    judge = Running.judge

    def without(self: Running, values: Any, at: Any) -> None:
        judge(self, values, at)
        self.judged_at = 0

    patch.setattr(Running, "judge", without)


def _streaks_over_gaps(patch: pytest.MonkeyPatch) -> None:
    """The count goes on from the last position, whichever that was."""
    extend = Streaks.extend

    def without(self: Any, below: Any, judged: Any, slots: Any, positions: Any, later: Any) -> Any:
        self.seen = getattr(self, "seen", torch.zeros(8, dtype=torch.int64))
        del positions
        self.seen[slots] += judged
        return extend(self, below, judged, slots, self.seen[slots], later)

    patch.setattr(Streaks, "extend", without)


def _outbox_keeps(patch: pytest.MonkeyPatch) -> None:
    pass_on = Outbox.pass_on

    def without(self: Any, output: Any, delivery: Any) -> Any:
        delivery.over[:] = []
        return pass_on(self, output, delivery)

    patch.setattr(Outbox, "pass_on", without)


def _stop_judged(patch: pytest.MonkeyPatch) -> None:
    judged: Any = vars(LiveRequest)["judged"]

    def without(self: Any) -> Any:
        decided, self.filtered.decided = self.filtered.decided, False
        found = judged.fget(self)
        self.filtered.decided = decided
        return found

    patch.setattr(LiveRequest, "judged", property(without))


MUTATIONS = {
    "take back": _take_back,
    "room for max_tokens": _without((LateScheduling, "_last_tokens", lambda _: iter(()))),
    "room for max_model_len": _longer_model,
    "lag": _without((Lag, "_corrected", lambda *_: {})),
    "tails": _without((Lag, "_tails", lambda *_: {})),
    "run again v1": _without((RunnerV1, "run_again", _nothing)),
    "run again v2": _without((RunnerV2, "run_again", _nothing)),
    "search over preemption": _search_forgotten,
    "refused rows": _refused_unmasked,
    "decided tokens": _decided_judged,
    "memory of skipped rows": _memory_unkept,
    "stale outputs": _without((StaleOutputs, "preempted", _nothing)),
    "patience of one request": _streaks_inherited,
    "patience by position": _streaks_over_gaps,
    "judged once": _judged_again,
    "what is dropped does not count": _without((SteeredScheduling, "_drops", lambda *_: False)),
    "outbox forgets": _outbox_keeps,
    "stop token is not judged": _stop_judged,
    "controls do not end": _without(
        (LiveRequest, "fires_below", property(lambda self: self.threshold or 0.0))
    ),
    "controls keep their tokens": _without(
        (LiveRequest, "refuses_from", property(lambda self: self.vfd_threshold or 0.0))
    ),
    "last position": _without((ValueFilter, "_is_last", lambda *_: False)),
}
SHOWN_BY = {"refused rows": 299, "patience of one request": 4256, "patience by position": 652}
"""The first seed that shows what few do; it is tried before all others."""


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_edit_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, some trace fails."""
    MUTATIONS[name](monkeypatch)

    seeds = (SHOWN_BY.get(name, 0), *range(MOST))
    traces = (drawn(random.Random(seed)) for seed in seeds)  # noqa: S311  (no secret)
    error = next(filter(None, map(failed, traces)))
    # A mutation that asks for what is not there shows nothing.
    assert not isinstance(error, (AttributeError, NameError)), error
