"""What cannot be steered does not start: no server ever runs unsteered by mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour import heads
from compat.behaviour.engines import EngineDiedError
from compat.behaviour.messages import EngineSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.behaviour.engines import EnginePool

pytestmark = [pytest.mark.mode("abstain"), pytest.mark.depth("fires")]

_NGRAM = {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 3}


@pytest.mark.parametrize(
    ("abstain", "options", "reason"),
    [
        ({"treshold": 0.5}, {}, "treshold"),
        ({"threshold": 1.5}, {}, "threshold"),
        ({"threshold": 0.5}, {"speculative_config": _NGRAM}, "speculative decoding"),
    ],
    ids=["unknown key", "out of range", "speculative decoding"],
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
