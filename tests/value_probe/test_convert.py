"""Other packages' heads, made one of ours that gives the same probabilities."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import linear_model, preprocessing
from torch import nn

from tests.head_files import write
from value_steer import cli
from value_steer.errors import CheckpointError
from value_steer.value_probe import Polarity, load_value_head
from value_steer.value_probe.checkpoint import sidecar
from value_steer.value_probe.convert import convert_head
from value_steer.value_probe.limits import MAX_ARRAY_BYTES

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN = 8
GOOD = Polarity.P_GOOD


@pytest.fixture(autouse=True)
def seed() -> None:
    """Reproducible weights."""
    torch.manual_seed(2)


def states() -> torch.Tensor:
    """Hidden states of all sizes that occur, a massive activation among them."""
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(60, HIDDEN, generator=generator) * torch.logspace(-3, 2, 60)[:, None]
    hidden[-1, 0] = 3000.0
    return hidden


def same(path: Path, logits: torch.Tensor) -> None:
    """The head gives these logits, within fp32's rounding."""
    torch.testing.assert_close(load_value_head(path).logit(states()), logits, rtol=1e-5, atol=1e-5)


def mlp(*sizes: int, act: type[nn.Module]) -> nn.Sequential:
    """Linear layers with a function between them."""
    layers: list[nn.Module] = []
    for into, out in itertools.pairwise(sizes):
        layers += [nn.Linear(into, out), act()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors"])
@pytest.mark.parametrize(
    ("before", "bias"),
    [
        ("", True),
        ("0.", True),
        ("probe.linear.", True),
        ("v_head.summary.", True),
        ("module.v_head.summary.", True),
        ("_orig_mod.module.score.", False),
        ("value_head.", False),
    ],
)
def test_a_linear_probe_and_value_heads_convert(
    tmp_path: Path, suffix: str, before: str, bias: Literal[True, False]
) -> None:
    """TRL's, OpenRLHF's and wrapped ones, without the rest of the model."""
    linear = nn.Linear(HIDDEN, 1, bias=bias)
    tensors = {before + name: tensor.detach() for name, tensor in linear.named_parameters()}
    others = ("wte.weight",) if before in {"v_head.summary.", "value_head."} else ()
    tensors |= {name: torch.zeros(3) for name in others}
    path = write(tmp_path / f"probe{suffix}", tensors)
    if suffix != ".pth":
        with pytest.raises(CheckpointError, match="value-steer convert"):
            load_value_head(path)

    done = convert_head(path, tmp_path / "v.safetensors", scores=GOOD, backbone="org/m")

    same(tmp_path / "v.safetensors", linear(states()).detach().squeeze(-1))
    card = load_value_head(tmp_path / "v.safetensors").card
    assert (card.scores, card.backbone) == (GOOD, "org/m")
    assert done.left_out == others


def test_two_classes_become_one_logit(tmp_path: Path) -> None:
    """The softmax's second class."""
    linear = nn.Linear(HIDDEN, 2)
    write(tmp_path / "c.pt", {f"classifier.{k}": v for k, v in linear.state_dict().items()})

    convert_head(tmp_path / "c.pt", tmp_path / "v.pt", scores=GOOD)

    logits = linear(states()).detach()
    same(tmp_path / "v.pt", logits[:, 1] - logits[:, 0])


@pytest.mark.parametrize(
    ("sizes", "act", "name"),
    [
        ((HIDDEN, HIDDEN, 1), nn.Tanh, "tanh"),
        ((HIDDEN, 3, 1), nn.Tanh, "tanh"),
        ((HIDDEN, 3, 1), nn.ReLU, "relu"),
    ],
)
def test_two_layers_and_bottlenecks_convert(
    tmp_path: Path, sizes: tuple[int, ...], act: type[nn.Module], name: Literal["tanh", "relu"]
) -> None:
    """What follows the layers must be said, for the file does not."""
    head = mlp(*sizes, act=act)
    torch.save({"state_dict": head.state_dict(), "epoch": 3}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match="--activation can be tanh or relu"):
        convert_head(tmp_path / "m.pt", tmp_path / "v.pt", scores=GOOD)

    convert_head(tmp_path / "m.pt", tmp_path / "v.pt", scores=GOOD, activation=name)

    same(tmp_path / "v.pt", head(states()).detach().squeeze(-1))


def test_three_narrow_layers_convert(tmp_path: Path) -> None:
    """With the published head's two functions."""
    inner = [nn.Linear(HIDDEN, 5), nn.Tanh(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1)]
    head = nn.Sequential(*inner)
    write(tmp_path / "m.pt", head.state_dict())

    convert_head(tmp_path / "m.pt", tmp_path / "v.pt", scores=GOOD, activation="tanh-relu")

    same(tmp_path / "v.pt", head(states()).detach().squeeze(-1))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_logistic_regression_converts(tmp_path: Path, save: Any) -> None:
    """With the scaler before it; its second class is the event."""
    hidden = states().double().numpy()
    names = np.where(hidden[:, 0] > 0, "unsafe", "safe")
    scaler = preprocessing.StandardScaler().fit(hidden)
    model = linear_model.LogisticRegression().fit(scaler.transform(hidden), names)
    arrays = {"coef_": model.coef_, "intercept_": model.intercept_, "classes_": model.classes_}
    arrays["classes_"] = model.classes_.astype("U")
    save(tmp_path / "m.npz", **arrays, mean_=scaler.mean_, scale_=scaler.scale_)

    convert_head(tmp_path / "m.npz", tmp_path / "v.pt")

    same(tmp_path / "v.pt", torch.tensor(model.decision_function(scaler.transform(hidden))).float())
    assert load_value_head(tmp_path / "v.pt").card.scores is Polarity.P_UNDESIRABLE
    with pytest.raises(CheckpointError, match="contradict each other"):
        convert_head(tmp_path / "m.npz", tmp_path / "v.pt", scores=GOOD)


@pytest.mark.parametrize(
    ("name", "tensors", "said"),
    [
        ("m.joblib", {}, r"numpy\.savez\('probe\.npz', coef_=model\.coef_"),
        ("m.pkl", {}, "not executed"),
        ("m.onnx", {}, "unknown suffix"),
        ("m.pt", {"weight": torch.zeros(3, 8)}, "it has 3 outputs"),
        ("m.pt", {"norm.weight": torch.zeros(8), "0.weight": torch.zeros(1, 8)}, "no chain of"),
        ("m.pt", {"0.weight": torch.zeros(9, 8), "1.weight": torch.zeros(1, 9)}, "wider than"),
        ("m.pt", {"0.weight": torch.zeros(4, 8), "1.weight": torch.zeros(1, 5)}, "fits no chain"),
        ("m.pt", {"weight": torch.full((1, 8), torch.nan)}, "not made of finite"),
        ("m.pt", {f"{i}.weight": torch.eye(8)[: 8 - 7 * (i == 3)] for i in range(4)}, "too many"),
        ("m.pt", {}, "no state dict"),
        ("m.npz", {"coef_": np.zeros((3, 8))}, "two classes"),
        ("m.npz", {"coef_": np.zeros(8), "other": np.zeros(1)}, "unknown arrays other"),
        ("m.npz", {"coef_": np.zeros(8), "scale_": np.zeros(8)}, "not made of finite"),
        ("m.npz", {"coef_": np.array([object()])}, "no .npz file of plain arrays"),
    ],
)
def test_what_ours_cannot_stand_for_is_refused(
    tmp_path: Path, name: str, tensors: dict[str, Any], said: str
) -> None:
    """The error says what it is, and nothing is written."""
    path = tmp_path / name
    if path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        torch.save(tensors, path)

    with pytest.raises(CheckpointError, match=said):
        convert_head(path, tmp_path / "v.pt", scores=GOOD)

    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_the_sidecar_of_the_source_counts(tmp_path: Path) -> None:
    """What it states is kept or refused as with any head."""
    path = write(tmp_path / "p.pt", nn.Linear(HIDDEN, 1).state_dict())
    sidecar(path).write_text('{"scores": "unsafe", "activation": "none"}', encoding="utf-8")
    convert_head(path, tmp_path / "v.pt")
    assert load_value_head(tmp_path / "v.pt").card.scores is Polarity.P_UNDESIRABLE

    sidecar(path).write_text('{"layer": 12}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="layer = 12"):
        convert_head(path, tmp_path / "v.pt", scores=GOOD)


def test_an_array_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    """A few kilobytes that would inflate to gigabytes are not inflated."""
    path = tmp_path / "m.npz"
    np.savez_compressed(path, coef_=np.zeros(MAX_ARRAY_BYTES // 8 + 1))
    assert path.stat().st_size < 100_000

    with pytest.raises(CheckpointError, match=f"more than {MAX_ARRAY_BYTES} bytes"):
        convert_head(path, tmp_path / "v.pt", scores=GOOD)


def test_the_command_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And an error is one line."""
    source, out = str(tmp_path / "p.pt"), str(tmp_path / "v.safetensors")
    write(tmp_path / "p.pt", nn.Linear(HIDDEN, 1).state_dict())

    assert cli.main(["convert", source, "--out", out, "--scores", "p_good"]) == 0
    said = capsys.readouterr().out
    assert "1 linear layers of 8 to 1, hidden size 8" in said
    assert "which scores p_good" in said

    assert cli.main(["convert", source, "--out", out]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_npz_that_numpy_would_not_write_is_refused(tmp_path: Path, method: int) -> None:
    """LZMA takes the memory that a file claims, and damaged it raises errors of its own."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((1, 4)))
    path = tmp_path / "m.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("coef_.npy", buffer.getvalue())
    body = path.read_bytes()

    for damaged in (body, body.replace(b"\x5d\x00", b"\xff\xff")):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=f"compressed by method {method}, which numpy"):
            convert_head(path, tmp_path / "v.pt", scores=GOOD)


@pytest.mark.parametrize("classes", [np.array(1), np.array([["a", "b"], ["c", "d"]])])
def test_classes_of_another_shape_are_refused(tmp_path: Path, classes: Any) -> None:
    """A single number, or a table."""
    np.savez(tmp_path / "m.npz", coef_=np.zeros((1, 4)), classes_=classes)

    with pytest.raises(CheckpointError, match="two classes"):
        convert_head(tmp_path / "m.npz", tmp_path / "v.pt", scores=GOOD)


def test_names_from_a_file_cannot_break_a_message(tmp_path: Path) -> None:
    """Neither with half a character, which cannot be printed, nor with a line of their own."""
    for name in ("\ud800", "a\nERROR forged", "\x1b[2J"):
        torch.save({name: torch.zeros(3, dtype=torch.int64)}, tmp_path / "m.pt")

        with pytest.raises(CheckpointError) as caught:
            convert_head(tmp_path / "m.pt", tmp_path / "v.pt", scores=GOOD)
        assert str(caught.value).encode().isascii()
        assert str(caught.value).isprintable()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_npz_is_never_another_exception(tmp_path: Path, data: st.DataObject) -> None:
    """Cut off, overwritten, or with any header."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, coef_=np.zeros((1, 4)), intercept_=np.zeros(1))
    body = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        header = json.dumps(data.draw(st.text(max_size=40)))[1:-1]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            shown = data.draw(st.sampled_from(["(9000000000,)", "(-1,)", "()", header]))
            text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shown}}}".ljust(118)
            magic = b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little", signed=False)
            archive.writestr("coef_.npy", magic + text.encode("utf-8", "replace") + b"\0" * 8)
        body = bytearray(buffer.getvalue())
    path = tmp_path / "m.npz"
    path.write_bytes(body[: data.draw(st.integers(0, len(body)))])

    with suppress(CheckpointError):
        convert_head(path, tmp_path / "v.pt", scores=GOOD)
