"""Who says that an engine cannot be steered while it decodes speculatively."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from compat.behaviour import drafts
from compat.behaviour.engines import EngineDiedError, EngineFailedError

if TYPE_CHECKING:
    from compat.behaviour.messages import EngineSpec

_REFUSED = "SettingsError: vLLM 0.24.0 cannot decode speculatively on a CPU"
_BROKEN = "TypeError: Cannot inspect kernel parameters for function"


class Pool:
    """Plain vLLM, which is asked for an engine with drafts and answers or raises."""

    def __init__(self, raises: Exception | None) -> None:
        self.raises = raises
        self.specs: list[EngineSpec] = []

    def get(self, spec: EngineSpec) -> Any:
        """An engine."""
        self.specs.append(spec)
        return self

    def generate(self, requests: object) -> None:
        """Answer nothing, or die."""
        assert requests
        if self.raises is not None:
            raise self.raises


def judged(died: str | None, pool: Any) -> bool:
    """What is found if the steered engine dies with a text, or boots."""

    def boot() -> Any:
        if died is not None:
            raise EngineDiedError(died)

    return drafts.can_be_judged(boot, pool)


def test_an_engine_that_boots_can_be_judged() -> None:
    """Plain vLLM is not asked."""
    pool = Pool(None)

    assert judged(None, pool)
    assert not pool.specs


def test_a_refusal_before_the_model_is_loaded_is_an_answer() -> None:
    """It was told in words, and in time."""
    pool = Pool(None)

    assert not judged(_REFUSED, pool)
    assert not pool.specs


def test_a_refusal_of_a_loaded_model_comes_too_late() -> None:
    """The wait was for nothing."""
    with pytest.raises(EngineDiedError, match="Starting to load model"):
        judged(f"Starting to load model tiny...\n{_REFUSED}", Pool(None))


@pytest.mark.parametrize("own", [EngineDiedError(_BROKEN), EngineFailedError(_BROKEN)])
def test_what_plain_vllm_cannot_do_is_not_asked_of_a_steered_one(own: Exception) -> None:
    """Plain vLLM dies of the same drafts, without value-steer."""
    pool = Pool(own)

    assert not judged(_BROKEN, pool)
    (spec,) = pool.specs
    assert (spec.abstain, spec.vfd) == (None, None)
    assert spec.options == {"speculative_config": drafts.NGRAM}


def test_what_plain_vllm_can_do_a_steered_one_must() -> None:
    """Its death is ours."""
    with pytest.raises(EngineDiedError, match="Cannot inspect"):
        judged(_BROKEN, Pool(None))
