"""What has to hold of every run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.engine.simulation.engine import Engine
from tests.engine.simulation.reference import Answer, Reference
from tests.engine.simulation.requests import Status
from tests.engine.simulation.traces import drawn, simpler
from value_steer.config import AbstainAction
from value_steer.engine.delivery.report import Ending
from value_steer.policy import in_control_group

if TYPE_CHECKING:
    from tests.engine.simulation.requests import Request
    from tests.engine.simulation.traces import Trace
    from value_steer.engine.scheduling.outcomes import Outcome


def check(trace: Trace) -> Engine:
    """Run a trace.

    Raises:
        AssertionError: Something does not hold.
    """
    engine = Engine(trace)
    engine.run()
    outcomes = {o.request_id: o for o in engine.scheduler.ledger.outcomes()}
    for request in engine.requests:
        control = request.ask.steer and in_control_group(request.request_id, trace.controls)
        answer = Reference(trace, request.ask, control=control).decode()
        _given(request, answer)
        if request.status is not Status.ABORTED:
            assert request.request_id in engine.prompts, "log-probabilities of a prompt are lost"
            _outcome(request, answer, outcomes[request.request_id])
            assert outcomes[request.request_id].control is control
        _recorded(engine, request, answer if control else None)
    _nothing_left(engine)
    return engine


def _given(request: Request, answer: Answer) -> None:
    got = request.response
    if request.status is Status.ABORTED:
        assert got == answer.tokens[: len(got)], f"{request.request_id}: {got} of {answer.tokens}"
    else:
        assert got == answer.tokens, f"{request.request_id}: {got}, not {answer.tokens}"
        assert request.status.value == answer.finish
        given = answer.ending.value if answer.ending and answer.finish == "stop" else None
        assert request.stop_reason == given or answer.finish == "length"
    if request.ask.logprobs is not None:
        assert len(request.scores) == len(got)
        for row, expected in zip(request.scores, answer.scores, strict=False):
            found = (row.logprob_token_ids[0, 0], row.logprobs[0, 0], row.sampled_token_ranks[0])
            assert found[0] == expected[0], f"{request.request_id}: the table has another token"
            assert math.isclose(found[1], expected[1], abs_tol=1e-4)
            assert found[2] == expected[2]


def _outcome(request: Request, answer: Answer, outcome: Outcome) -> None:
    name = request.request_id
    found: dict[str, Any] = {
        "interventions": outcome.interventions,
        "no_acceptable": outcome.no_acceptable,
        "judged": outcome.judged,
        "value": outcome.value,
        "lowest": outcome.lowest,
        "p_undesirable": outcome.p_undesirable,
        "abstained": outcome.abstained,
        "action": outcome.action,
        "kept": outcome.response_tokens,
        "values": outcome.values,
        "undesirable": outcome.undesirable,
    }
    expected: dict[str, Any] = {
        "interventions": answer.interventions,
        "no_acceptable": answer.no_acceptable,
        "judged": len(answer.good),
        "value": answer.good[-1] if answer.good else None,
        "lowest": min(answer.good, default=None),
        "p_undesirable": answer.undesirable[-1] if answer.undesirable else None,
        "abstained": answer.action not in {None, AbstainAction.END_THINKING},
        "action": answer.action and answer.action.value,
        "kept": answer.kept,
        "values": tuple(answer.good) if request.ask.values else None,
        "undesirable": tuple(answer.undesirable) if request.ask.values else None,
    }
    wrong = {k: (found[k], expected[k]) for k in found if found[k] != expected[k]}
    assert not wrong, f"{name}: {wrong}"


def _recorded(engine: Engine, request: Request, answer: Answer | None) -> None:
    """A whole answer of a control once for each mode, with every value; nothing else."""
    name, tokens = request.request_id, len(request.response)
    lines = [one for one in engine.recorder.answers if one["id"] == name]
    if answer is None or request.status is Status.ABORTED:
        assert not lines
        return
    seen = [(one["head"], one["first"], one["values"]) for one in lines]
    good = [float(str(np.float32(value))) for value in answer.good[:tokens]]
    undesirable = [float(str(np.float32(value))) for value in answer.undesirable]
    abstention = [] if engine.trace.abstain is None else [(0, 0, good)]
    assert seen == [*abstention, (1, 1, undesirable)], f"{name}: {seen}"
    assert {(one["tokens"], one["finish"]) for one in lines} == {(tokens, answer.finish)}


def _nothing_left(engine: Engine) -> None:
    assert engine.scheduler.pool.all_free, "blocks are lost"
    assert not engine.scheduler._endings
    assert not engine.scheduler._late
    assert not engine.scheduler._stale._stale
    assert not len(engine.scheduler.ledger), "the ledger keeps requests"
    assert not len(engine.table), "the table keeps requests"
    assert not engine.lag._behind, "the lag keeps requests"
    assert not engine.memory._kept, "the memory keeps batches"
    # The outbox hears of ends with the next output.
    assert engine.steps.outbox._held.keys() <= set(engine.steps.steering._over)


def shrunk(trace: Trace) -> tuple[Trace, Exception]:
    """A simpler run that fails as well, as far as can be found, and how."""
    failure = failed(trace)
    assert failure is not None
    going = True
    while going:
        going = False
        for other in simpler(trace):
            if other != trace and (found := failed(other)) is not None:
                trace, failure, going = other, found, True
                break
    return trace, failure


def failed(trace: Trace) -> Exception | None:
    """How a run fails; ``None`` if it does not."""
    try:
        check(trace)
    except Exception as error:  # noqa: BLE001  (whatever it is)
        return error
    return None


__all__ = ["Ending", "check", "drawn", "failed", "shrunk"]
