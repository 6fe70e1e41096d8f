"""The engine's way to evaluate a head gives the head's own values."""

from __future__ import annotations

import pytest
import torch

from value_steer.engine.scoring import Scorer
from value_steer.value_probe import Architecture, ValueHead


@pytest.mark.parametrize("hidden", [8, 128, 512, 768], ids=lambda size: f"hidden {size}")
@pytest.mark.parametrize("rows", [1, 3, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("architecture", Architecture)
def test_a_scorer_gives_the_values_of_its_head(
    hidden: int, rows: int, dtype: torch.dtype, architecture: Architecture
) -> None:
    """Plain or packed weights, any floating-point hidden state: fp32, up to rounding."""
    torch.manual_seed(hidden)
    head = ValueHead(hidden, architecture).eval()
    with torch.no_grad():
        head.linears[-1].weight.mul_(30.0)
        feature = torch.randn(rows, hidden, dtype=dtype)
        expected = head.p(feature)

    with torch.inference_mode():
        values = Scorer(head)(feature)

    assert values.dtype is torch.float32
    assert values.shape == (rows,)
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-5)


def test_a_scorer_passes_on_what_is_not_a_number() -> None:
    """A hidden state that is broken gives no value, so nothing takes it for an acceptable one."""
    feature = torch.full((1, 8), torch.nan)

    with torch.inference_mode():
        assert Scorer(ValueHead(8))(feature).isnan().all()


def test_two_batches_do_not_share_their_values() -> None:
    """What was scored first is kept, for the record of a request, while more is scored."""
    scorer = Scorer(ValueHead(8))
    with torch.inference_mode():
        first = scorer(torch.zeros(2, 8))
        before = first.clone()
        scorer(torch.ones(2, 8))

    assert torch.equal(first, before)
