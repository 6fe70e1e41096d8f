"""The value head as a function of hidden states."""

from __future__ import annotations

import pytest
import torch

from value_steer.value_probe import HeadCard, ValueHead

HIDDEN = 6


@pytest.fixture
def head() -> ValueHead:
    """A head with reproducible weights."""
    torch.manual_seed(3)
    return ValueHead(HIDDEN)


def test_the_state_dict_has_the_published_keys(head: ValueHead) -> None:
    """The names carry no prefix, so that published checkpoints fit."""
    shapes = {key: tuple(tensor.shape) for key, tensor in head.state_dict().items()}

    assert shapes == {
        "0.weight": (HIDDEN, HIDDEN),
        "0.bias": (HIDDEN,),
        "2.weight": (HIDDEN, HIDDEN),
        "2.bias": (HIDDEN,),
        "4.weight": (1, HIDDEN),
        "4.bias": (1,),
    }


def test_the_logit_is_what_the_formula_says(head: ValueHead) -> None:
    """Linear, tanh, linear, ReLU, linear, written out by hand."""
    hidden = torch.randn(5, HIDDEN)
    w = head.state_dict()

    inner = torch.tanh(hidden @ w["0.weight"].T + w["0.bias"])
    inner = torch.clamp(inner @ w["2.weight"].T + w["2.bias"], min=0)
    expected = (inner @ w["4.weight"].T + w["4.bias"])[:, 0]

    torch.testing.assert_close(head.logit(hidden), expected)
    torch.testing.assert_close(head.p(hidden), 1 / (1 + torch.exp(-expected)))


@pytest.mark.parametrize("leading", [(), (4,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_leading_shape_and_float_dtype_gives_fp32(
    head: ValueHead, leading: tuple[int, ...], dtype: torch.dtype
) -> None:
    """``[..., H]`` becomes ``[...]``."""
    hidden = torch.randn(*leading, HIDDEN).to(dtype)

    assert head.logit(hidden).shape == leading
    assert head.logit(hidden).dtype == torch.float32
    torch.testing.assert_close(head.logit(hidden), head.logit(hidden.float()))


def test_a_new_head_is_fp32_whatever_the_default_is() -> None:
    """Inference engines set the default dtype to the model's."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        dtypes = {parameter.dtype for parameter in ValueHead(HIDDEN).parameters()}
    finally:
        torch.set_default_dtype(torch.float32)

    assert dtypes == {torch.float32}


@pytest.mark.parametrize("shape", [(2, HIDDEN + 1), (HIDDEN, 1), ()])
def test_another_hidden_size_is_refused_by_name(head: ValueHead, shape: tuple[int, ...]) -> None:
    """The error has the head's size and the shape that came."""
    with pytest.raises(ValueError, match=f"size {HIDDEN}, got shape") as caught:
        head.logit(torch.zeros(shape))

    assert str(shape) in str(caught.value)


def test_a_new_head_knows_only_its_size(head: ValueHead) -> None:
    """Its card claims nothing else, not even a polarity."""
    assert head.card == HeadCard(hidden_size=HIDDEN)
    assert head.card.scores is None
    assert head.device.type == "cpu"
