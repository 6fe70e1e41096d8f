"""A control group gets the model's own answers, and they are recorded with every value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from compat.behaviour import batches, heads
from compat.behaviour.messages import EngineSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.behaviour.engines import EnginePool, PlainEngine

_TOLERANCE = 1e-4
"""fp32 on both sides; the engine's attention sums in another order."""


@pytest.mark.mode("abstain")
@pytest.mark.mode("vfd")
@pytest.mark.depth("equal")
@pytest.mark.detects_dead
@pytest.mark.parametrize("both", [False, True], ids=["abstain", "both-preempted"])
def test_a_control_group_is_recorded_and_left_alone(
    pool: EnginePool,
    plain: PlainEngine,
    model_of: Callable[[str], Path],
    recognising_head: Callable[[str], str],
    tmp_path: Path,
    both: bool,  # noqa: FBT001  (a parameter of the test)
) -> None:
    """Whatever the head objects to; each answer once, also of those that were preempted."""
    head = recognising_head("mistral")
    section = {"value_head_path": head, "threshold": 0.5}
    spec = EngineSpec(
        abstain={**section, "min_tokens": 3},
        vfd=section if both else None,
        record={"directory": str(tmp_path), "share": 1.0},
        options=batches.TIGHT if both else {},
    )
    engine = pool.get(spec)
    # Of seeded prompts that arrive in chunks vLLM's own CPU runner cannot make anything.
    batch = (
        batches.greedy(batches.CROWDING) if both else [*batches.greedy(24), *batches.sampled(24)]
    )

    answers = engine.generate(batch)
    outcomes = engine.outcomes()

    assert [a.tokens for a in answers] == [a.tokens for a in plain.generate(batch)]
    assert all(outcomes[a.request_id]["control"] for a in answers)
    (path,) = tmp_path.iterdir()
    _, *lines = map(json.loads, path.read_bytes().splitlines())
    found = {(line["id"], line["head"]): line for line in lines}
    assert len(found) == len(lines) == len(answers) * (2 if both else 1)
    sequences = [[*r.prompt, *a.tokens] for r, a in zip(batch, answers, strict=True)]
    truth = heads.values(model_of("mistral"), head, sequences)
    objected = 0
    for request, answer, good in zip(batch, answers, truth, strict=True):
        expected = good[len(request.prompt) - 1 :]
        line = found[answer.request_id, 0]
        _is_of(line, answer.tokens, request.params)
        assert line["first"] == 0
        assert line["values"] == pytest.approx(expected[:-1], abs=_TOLERANCE)
        if both:
            filtered = found[answer.request_id, 1]
            assert filtered["first"] == 1
            undesirable = [1 - value for value in expected[1:]]
            assert filtered["values"] == pytest.approx(undesirable, abs=_TOLERANCE)
        objected += min(expected) < 0.5
    assert objected > 3
    assert (engine.counters()["recorded"], not both) == (len(answers), not engine.preemptions())


def _is_of(line: dict[str, Any], tokens: list[int], params: dict[str, Any]) -> None:
    """How an answer ended, and how it was sampled."""
    assert line["tokens"] == len(tokens)
    assert line["finish"] == ("length" if len(tokens) == params["max_tokens"] else "stop")
    for name, unset in (("temperature", 1.0), ("top_p", 1.0), ("top_k", 0), ("min_p", 0.0)):
        assert line[name] == pytest.approx(params.get(name, unset))
    assert line["max_tokens"] == params["max_tokens"]
