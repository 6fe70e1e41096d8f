"""Plain vLLM boots here at all: when this fails, value-steer is not the cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.behaviour.messages import Request

if TYPE_CHECKING:
    from compat.behaviour.engines import PlainEngine


@pytest.mark.mode("abstain")
@pytest.mark.depth("boots")
def test_plain_engine_generates(plain: PlainEngine) -> None:
    """Plain vLLM boots and generates as many tokens as it is asked for."""
    (answer,) = plain.generate([Request([5, 6, 7], {"temperature": 0.0, "max_tokens": 8})])

    assert len(answer.tokens) == 8
    assert answer.finish_reason == "length"
