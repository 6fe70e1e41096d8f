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
    # On a CPU vLLM itself cannot take seeded prompts in chunks, nor seeds beside none.
    parts = [batches.greedy(batches.CROWDING if both else 24)]
    parts += [] if both else [batches.seeded(12, max_tokens=24)]

    answers = [answer for part in parts for answer in engine.generate(part)]
    outcomes = engine.outcomes()

    natural = [answer.tokens for part in parts for answer in plain.generate(part)]
    assert [a.tokens for a in answers] == natural
    assert all(outcomes[a.request_id]["control"] for a in answers)
    (path,) = tmp_path.iterdir()
    _, *lines = map(json.loads, path.read_bytes().splitlines())
    found = {(line["id"], line["head"]): line for line in lines}
    assert len(found) == len(lines) == len(answers) * (2 if both else 1)
    batch = [request for part in parts for request in part]
    sequences = [[*r.prompt, *a.tokens] for r, a in zip(batch, answers, strict=True)]
    truth = heads.values(model_of("mistral"), head, sequences)
    for request, answer, good in zip(batch, answers, truth, strict=True):
        expected = good[len(request.prompt) - 1 :]
        seen = {0: expected[:-1], **({1: [1 - value for value in expected[1:]]} if both else {})}
        for mode, values in seen.items():
            line = found[answer.request_id, mode]
            _is_of(line, answer.tokens, request.params)
            assert line["first"] == mode  # filtering does not judge the prompt
            assert line["values"] == pytest.approx(values, abs=_TOLERANCE)
    assert sum(min(line["values"]) < 0.5 for line in lines) > 3, "nothing to object to"
    assert engine.counters()["recorded"] == len(answers)
    assert not both or engine.preemptions()


def _is_of(line: dict[str, Any], tokens: list[int], params: dict[str, Any]) -> None:
    """How an answer ended, and how it was sampled."""
    assert line["tokens"] == len(tokens)
    assert line["finish"] == ("length" if len(tokens) == params["max_tokens"] else "stop")
    for name, unset in (("temperature", 1.0), ("top_p", 1.0), ("top_k", 0), ("min_p", 0.0)):
        assert line[name] == pytest.approx(params.get(name, unset))
    assert line["max_tokens"] == params["max_tokens"]
