"""The engine's way to evaluate a head gives the head's own values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from value_steer.engine.scoring import Choice, Heads, Scorer, complement
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


def _head(hidden: int, architecture: Architecture = Architecture.THREE_LAYER) -> ValueHead:
    """A head whose biases matter as well."""
    torch.manual_seed(hidden)
    head = ValueHead(hidden, architecture).eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return head


packs = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch has no packed weights"
)


@packs
@pytest.mark.parametrize(("hidden", "packed"), [(511, False), (512, True)])
@pytest.mark.parametrize("architecture", Architecture)
def test_a_large_head_is_evaluated_with_packed_weights(
    hidden: int, architecture: Architecture, *, packed: bool
) -> None:
    """Since they give the same values and are faster."""
    scorer = Scorer(_head(hidden, architecture))

    assert (scorer._hidden != scorer._plain) is packed


@packs
@pytest.mark.parametrize("error", [0.0, 1e-3])
def test_packed_weights_that_give_other_values_are_not_used(
    error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel may be wrong on a machine that no torch was tested on."""
    calls = 0
    mkldnn: Any = torch.ops.mkldnn
    apply = mkldnn._linear_pointwise.default

    def wrong(*args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return apply(*args) + error  # type: ignore[no-any-return]

    monkeypatch.setattr(mkldnn, "_linear_pointwise", SimpleNamespace(default=wrong))
    head, feature = _head(512), torch.randn(3, 512)
    with torch.inference_mode():
        scorer = Scorer(head)
        tried = calls
        values = scorer(feature)

    assert (calls > tried) is (error == 0.0)
    torch.testing.assert_close(values, head.p(feature), atol=1e-5, rtol=1e-5)


def test_each_row_has_the_value_of_its_head() -> None:
    """Whichever heads the others have; a head that scores no row is not asked."""

    def never(_: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    heads = Heads([lambda h: h[:, 0], never, complement(lambda h: h[:, 1]), lambda h: h[:, 2]])
    feature = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])

    values = heads(feature, Choice(torch.tensor([2, 0, 3]), (0, 2, 3)))
    alone = heads(feature, Choice(torch.tensor([3, 3, 3]), (3,)))

    assert values.tolist() == pytest.approx([0.8, 0.4, 0.9])
    assert alone.tolist() == pytest.approx([0.3, 0.6, 0.9])
    assert heads.first(feature).tolist() == pytest.approx([0.1, 0.4, 0.7])


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
