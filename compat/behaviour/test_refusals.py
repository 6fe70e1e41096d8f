"""Refusals at start-up: no server ever runs unsteered by mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import heads
from compat.behaviour.drafts import NGRAM, can_be_judged
from compat.behaviour.engines import EngineDiedError
from compat.behaviour.messages import EngineSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.behaviour.engines import EnginePool

pytestmark = [pytest.mark.mode("abstain"), pytest.mark.depth("fires")]


@pytest.mark.parametrize(
    ("abstain", "options", "reason"),
    [
        ({"treshold": 0.5}, {}, "treshold"),
        ({"threshold": 1.5}, {}, "threshold"),
    ],
    ids=["unknown key", "out of range"],
)
def test_a_wrong_configuration_does_not_start(
    abstain: dict[str, object],
    options: dict[str, object],
    reason: str,
    pool: EnginePool,
    constant_head: Callable[[float], str],
) -> None:
    """The engine does not boot, and the reason names the setting."""
    spec = EngineSpec(abstain={"value_head_path": constant_head(0.9), **abstain}, options=options)

    with pytest.raises(EngineDiedError, match=reason):
        pool.get(spec)


def test_drafts_are_refused_where_tokens_are_filtered(
    pool: EnginePool, constant_head: Callable[[float], str]
) -> None:
    """Before the model is loaded, with what to do about it."""
    vfd = {"value_head_path": constant_head(0.9), "threshold": 0.5}

    # vLLM itself knows no such drafts with Model Runner V2, from 0.28 on.
    reasons = "remove --speculative-config|Model Runner V2 does not yet support"
    with pytest.raises(EngineDiedError, match=reasons) as refused:
        pool.get(EngineSpec(vfd=vfd, options={"speculative_config": NGRAM}))

    assert "Starting to load model" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, r"record\.directory = .*nowhere: there is no such folder"),
        (
            {"scheduler_cls": "vllm.v1.core.sched.scheduler.Scheduler"},
            "nothing would be recorded, since the engine's scheduler knows nothing",
        ),
    ],
    ids=["no folder", "another scheduler"],
)
def test_traffic_that_cannot_be_recorded_is_told_before_the_model_is_loaded(
    options: dict[str, object],
    reason: str,
    pool: EnginePool,
    constant_head: Callable[[float], str],
    tmp_path: Path,
) -> None:
    """With what to do about it."""
    spec = EngineSpec(
        abstain={"value_head_path": constant_head(0.9), "threshold": 0.5},
        record={"directory": str(tmp_path / "nowhere"), "share": 0.5},
        options=options,
    )

    with pytest.raises(EngineDiedError, match=reason) as refused:
        pool.get(spec)

    assert "Starting to load model" not in str(refused.value)


def test_drafts_are_judged_or_refused_before_the_model_is_loaded(
    pool: EnginePool, constant_head: Callable[[float], str]
) -> None:
    """With Model Runner V2, and on CPU builds of vLLM that cannot decode so themselves."""
    abstain = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    spec = EngineSpec(abstain=abstain, options={"speculative_config": NGRAM})

    if can_be_judged(lambda: pool.get(spec), pool):
        assert pool.get(spec).runner() == "v1"


def test_a_head_for_another_model_does_not_start(pool: EnginePool, workshop: Path) -> None:
    """A head of another hidden size is refused, naming both sizes."""
    head = heads.constant(0.9, workshop / "narrow.safetensors", hidden=64)

    with pytest.raises(EngineDiedError, match=r"(?s)CheckpointError.*(64.*128|128.*64)"):
        pool.get(EngineSpec(abstain={"value_head_path": str(head), "threshold": 0.5}))


@pytest.mark.parametrize(
    ("worker", "seam"),
    [("UnhookedWorker", "did not call its sampler"), ("UntappedWorker", "compute_logits")],
)
def test_a_moved_seam_is_noticed_before_serving(
    worker: str, seam: str, pool: EnginePool, constant_head: Callable[[float], str]
) -> None:
    """The start-up self-test names the seam that is not reached, and the engine does not boot."""
    abstain = {"value_head_path": constant_head(0.9), "threshold": 0.5}
    spec = EngineSpec(abstain=abstain, worker=f"compat.behaviour.broken.{worker}")

    with pytest.raises(EngineDiedError, match=seam):
        pool.get(spec)
