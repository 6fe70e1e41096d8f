"""Under ``on_error: passthrough`` whatever fails, every request is served to its end."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.simulation import model
from tests.engine.simulation.check import _nothing_left
from tests.engine.simulation.engine import Engine
from tests.engine.simulation.requests import Status
from tests.engine.simulation.traces import Ask, Trace, drawn
from value_steer.config import Fallback, OnError
from value_steer.errors import SteeringError

if TYPE_CHECKING:
    from collections.abc import Callable


def _failing(r: random.Random, share: float, function: Callable[..., Any]) -> Callable[..., Any]:
    def fails(*args: Any) -> Any:
        if r.random() < share:
            msg = "the head is broken"
            raise RuntimeError(msg)
        return function(*args)

    return fails


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_requests_are_served_whenever_a_decision_fails(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the head or amid a search: the host's own checks hold, and nothing is left behind."""
    generator = model.Distributions.generators
    for seed in range(200):
        r = random.Random(seed)  # noqa: S311  (no secret)
        engine = Engine(drawn(r), on_error=OnError.PASSTHROUGH)
        held = engine.filter._held
        monkeypatch.setattr(held, "_score", _failing(r, share, held._score))
        monkeypatch.setattr(model.Distributions, "generators", _failing(r, share, generator))
        engine.run()
        _nothing_left(engine)
        assert all(request.is_finished() for request in engine.requests)


ONE = Ask(prompt=(2, 3), most=4, seed=5)


@pytest.mark.parametrize("runner", ["v1", "v2"])
@pytest.mark.parametrize("depth", [1, 2])
def test_what_the_model_drew_is_served_and_counted(runner: str, depth: int) -> None:
    """Each token as unscored, each failure as one that was passed over."""
    trace = Trace((ONE,), runner=runner, depth=depth, threshold=0, fallback=Fallback.ABSTAIN)
    engine = Engine(trace, on_error=OnError.PASSTHROUGH)
    engine.filter._held._score = _failing(random.Random(0), 1.0, lambda f: f)  # noqa: S311

    engine.run()

    (request,) = engine.requests
    sequence = list(ONE.prompt)
    for token in request.response:
        logits = model.state(trace.salt, tuple(sequence)).logits
        assert token == model.sampled(logits, ONE.seed, len(sequence), greedy=False)
        sequence.append(token)
    (outcome,) = engine.scheduler.ledger.outcomes()
    counters = engine.scheduler.ledger.counters
    assert request.status in {Status.STOPPED, Status.FULL}
    assert outcome.unscored == counters.unscored == len(request.response)
    assert counters.swallowed_errors >= len(request.response)
    assert (outcome.interventions, outcome.no_acceptable, outcome.abstained) == (0, 0, False)


def test_a_failed_decision_stops_the_step() -> None:
    """Unless the operator chose otherwise, no token is served that nobody judged."""
    engine = Engine(Trace((ONE,)))
    engine.filter._held._score = _failing(random.Random(0), 1.0, lambda f: f)  # noqa: S311

    with pytest.raises(SteeringError, match="the head is broken"):
        engine.run()


def test_values_of_another_batch_stop_the_step() -> None:
    """Nothing is guessed."""
    engine = Engine(Trace((ONE,)))
    held = engine.filter._held
    score = held._score
    held._score = lambda feature, choice: score(feature, choice).repeat(2)

    with pytest.raises(SteeringError, match="another batch than the 1 rows"):
        engine.run()


def test_a_value_that_is_not_a_number_is_unacceptable() -> None:
    """So with ``abstain`` the request is given up at its first token."""
    engine = Engine(Trace((ONE,), fallback=Fallback.ABSTAIN))
    engine.filter._held._score = lambda feature, _: feature[:, 0] * float("nan")

    engine.run()

    assert engine.requests[0].response == [1]
    assert engine.requests[0].stop_reason == "value_steer:no_acceptable"
