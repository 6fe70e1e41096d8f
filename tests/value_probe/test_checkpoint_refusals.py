"""Value heads on disk that are refused, each with one clear error."""

from __future__ import annotations

import io
import json
import pickle
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.head_files import HIDDEN, SUFFIXES, Intruder, Weights, weights_of, write
from value_steer.errors import CheckpointError
from value_steer.value_probe import HeadCard, ValueHead, load_value_head, save_value_head
from value_steer.value_probe.checkpoint import sidecar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

every_format = pytest.mark.parametrize("suffix", SUFFIXES)


@pytest.fixture
def head() -> ValueHead:
    """A head with reproducible weights."""
    torch.manual_seed(5)
    return ValueHead(HIDDEN)


def without(key: str) -> Callable[[Weights], Weights]:
    """Drop one tensor."""
    return lambda weights: {name: weights[name] for name in weights if name != key}


def having(key: str, tensor: torch.Tensor) -> Callable[[Weights], Weights]:
    """Put one tensor."""
    return lambda weights: {**weights, key: tensor}


DAMAGED = [
    (without("4.bias"), "missing keys 4.bias, unexpected keys none"),
    (having("6.weight", torch.zeros(1)), "missing keys none, unexpected keys 6.weight"),
    (lambda w: {f"m.{k}": v for k, v in w.items()}, "unexpected keys m.0.bias"),
    (lambda w: {f"module.{k}" if "0" in k else k: w[k] for k in w}, "module.0.bias"),
    (having("0.weight", torch.zeros(4, 9)), "0.weight has shape (4, 9), expected (4, 4)"),
    (having("2.bias", torch.zeros(3)), "2.bias has shape (3,), expected (4,)"),
    (having("4.weight", torch.zeros(4)), "4.weight has shape (4,), expected (1, 4)"),
    (
        lambda w: {k: w[k].new_zeros([n % 4 for n in w[k].shape]) for k in w},
        "expected (1, 1) for hidden size 1",
    ),
    (having("2.weight", torch.full((4, 4), float("nan"))), "2.weight is not made of finite"),
    (having("4.bias", torch.tensor([float("inf")])), "4.bias is not made of finite"),
    (having("4.bias", torch.tensor([1e300], dtype=torch.float64)), "4.bias is not made of finite"),
    (having("4.bias", torch.tensor([1])), "4.bias is not made of finite"),
]


@every_format
@pytest.mark.parametrize(("damage", "said"), DAMAGED, ids=[said for _, said in DAMAGED])
def test_weights_that_are_no_value_head_are_refused(
    head: ValueHead,
    tmp_path: Path,
    suffix: str,
    damage: Callable[[Weights], Weights],
    said: str,
) -> None:
    """The error names the file, the tensor and what was expected."""
    path = write(tmp_path / f"v{suffix}", damage(weights_of(head)))

    with pytest.raises(CheckpointError) as caught:
        load_value_head(path)

    assert str(path) in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.zeros(1)], "no bare state dict"),
        ({"state_dict": {}}, "no bare state dict"),
        ({0: torch.zeros(1), "a": torch.zeros(1)}, "unexpected keys 0, a"),
        ({"0.weight": Intruder()}, "it is not executed"),
        (Intruder(), "it is not executed"),
    ],
    ids=["list", "nested", "odd keys", "code inside", "code alone"],
)
def test_a_pickle_of_something_else_is_refused(tmp_path: Path, content: object, said: str) -> None:
    """Only plain tensors are read, and no code of the file runs."""
    torch.save(content, tmp_path / "v.pt")

    with pytest.raises(CheckpointError) as caught:
        load_value_head(tmp_path / "v.pt")

    assert said in str(caught.value)


def test_a_bare_pickle_with_code_is_refused(tmp_path: Path) -> None:
    """The older container is no way around it."""
    (tmp_path / "v.bin").write_bytes(pickle.dumps(Intruder(), protocol=2))

    with pytest.raises(CheckpointError, match="it is not executed"):
        load_value_head(tmp_path / "v.bin")


@pytest.mark.parametrize("tensor", [torch.eye(4).to_sparse(), torch.zeros(4, 4, device="meta")])
def test_tensors_without_plain_numbers_are_refused(
    head: ValueHead, tmp_path: Path, tensor: torch.Tensor
) -> None:
    """Sparse tensors and tensors without storage are no weights."""
    path = write(tmp_path / "v.pt", {**weights_of(head), "0.weight": tensor})

    with pytest.raises(CheckpointError, match=r"0\.weight is not made of finite"):
        load_value_head(path)


def written(suffix: str) -> bytes:
    """A good checkpoint's bytes."""
    buffer = io.BytesIO()
    torch.manual_seed(1)
    state = ValueHead(HIDDEN).state_dict()
    torch.save(dict(state), buffer, _use_new_zipfile_serialization=suffix == ".pt")
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".pt", ".bin"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_pickle_is_never_another_exception(
    tmp_path: Path, suffix: str, data: st.DataObject
) -> None:
    """Cut off or overwritten anywhere, a file is refused or still holds a whole head."""
    body = bytearray(written(suffix))
    body = body[: data.draw(st.integers(0, len(body)))]
    for _ in range(data.draw(st.integers(0, 3)) if body else 0):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"v{suffix}"
    path.write_bytes(body)

    with suppress(CheckpointError):
        assert load_value_head(path).hidden_size == HIDDEN


def test_an_escape_that_python_means_to_drop_is_no_warning(tmp_path: Path) -> None:
    """A damaged text in a pickle is the file's fault, not the program's."""
    path = tmp_path / "v.bin"
    path.write_bytes(b"S'\\o'\n.")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CheckpointError):
            load_value_head(path)


@every_format
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_one_clear_error(
    head: ValueHead, tmp_path: Path, suffix: str, share: float
) -> None:
    """A download that broke off is recognised as such."""
    path = tmp_path / f"v{suffix}"
    save_value_head(path, head, HeadCard(HIDDEN))
    body = path.read_bytes()
    path.write_bytes(body[: int(len(body) * share)])

    with pytest.raises(CheckpointError, match=r"truncated|no checkpoint at all"):
        load_value_head(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.pt", "No such file"),
        ("folder.pt", "Is a directory"),
        ("head.onnx", "unknown suffix '.onnx'; use .safetensors, .pt or .bin"),
        ("head", "unknown suffix ''"),
        ("a\0b.pt", "cannot be opened"),
    ],
)
def test_a_path_that_leads_to_no_head_is_refused(tmp_path: Path, name: str, said: str) -> None:
    """The error says what was found there and what to give instead."""
    (tmp_path / "folder.pt").mkdir()
    for other in ("head.onnx", "head"):
        (tmp_path / other).write_bytes(b"x")

    with pytest.raises(CheckpointError) as caught:
        load_value_head(tmp_path / name)

    assert said in str(caught.value)
    assert ".safetensors, .pt or .bin" in str(caught.value)


@every_format
def test_a_head_for_another_backbone_is_refused(
    head: ValueHead, tmp_path: Path, suffix: str
) -> None:
    """Both hidden sizes are named."""
    path = write(tmp_path / f"v{suffix}", weights_of(head))

    with pytest.raises(CheckpointError, match="hidden size 4, but the model has hidden size 16"):
        load_value_head(path, hidden_size=16)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'{"hidden_size": 4, "scores": "p_good", "scores": null}', "'scores' occurs more than"),
        (b'{"format": 1, "hidden_size": 4, "polarity": "p_good"}', "polarity: unknown key"),
        (b'{"hidden_size": "4"}', "hidden_size = '4'"),
        (b'{"hidden_size": 5}', "its card says hidden size 5"),
    ],
)
@every_format
def test_a_wrong_sidecar_is_refused(
    head: ValueHead, tmp_path: Path, suffix: str, text: bytes, said: str
) -> None:
    """A card that cannot be trusted is not skipped."""
    path = write(tmp_path / f"v{suffix}", weights_of(head))
    sidecar(path).write_bytes(text)

    with pytest.raises(CheckpointError) as caught:
        load_value_head(path)

    assert said in str(caught.value)
    assert path.name in str(caught.value)


def test_a_sidecar_that_cannot_be_read_is_refused(head: ValueHead, tmp_path: Path) -> None:
    """It may hold the polarity, so it is not taken for absent."""
    path = write(tmp_path / "v.pt", weights_of(head))
    sidecar(path).mkdir()

    with pytest.raises(CheckpointError, match=r"meta\.json cannot be read"):
        load_value_head(path)


def test_a_wrong_card_inside_safetensors_is_refused(head: ValueHead, tmp_path: Path) -> None:
    """It is held to the same rules as a sidecar."""
    path = tmp_path / "v.safetensors"
    card = json.dumps({"hidden_size": 4, "color": 1})
    save_file(weights_of(head), path, metadata={"value_steer_card": card})

    with pytest.raises(CheckpointError, match=r"v\.safetensors \(metadata\): color: unknown key"):
        load_value_head(path)
