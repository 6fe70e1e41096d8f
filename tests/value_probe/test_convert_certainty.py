"""A file whose head is not certain converts to the right head or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.head_files import write
from value_steer import cli
from value_steer.errors import CheckpointError
from value_steer.value_probe import HeadCard, Polarity, ValueHead, load_value_head, save_value_head
from value_steer.value_probe.checkpoint import sidecar
from value_steer.value_probe.convert import convert_head

if TYPE_CHECKING:
    from pathlib import Path

    from value_steer.value_probe.convert import Activation

H = 8
GOOD, UNDESIRABLE = Polarity.P_GOOD, Polarity.P_UNDESIRABLE
LINEAR = {"weight": torch.ones(1, H), "bias": torch.zeros(1)}
SQUARE, LAST, BLOCK = torch.eye(H), torch.ones(1, H), torch.zeros(3 * H, H)


def converted(path: Path, content: object, activation: Activation | None = None) -> Any:
    """What is made of the content of a file."""
    if path.suffix == ".npz":
        np.savez(path, **content)  # type: ignore[arg-type]
    else:
        torch.save(content, path)
    return convert_head(path, path.with_name("v.pt"), scores=GOOD, activation=activation)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_without_tensors_is_one_error(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that names classes only."""
    path = tmp_path / f"m{suffix}"
    contents: list[dict[str, Any]] = [{}, {"classes_": np.array(["a", "b"])}]
    for content in contents if suffix == ".npz" else contents[:1]:
        if suffix == ".npz":
            np.savez(path, **content)
        else:
            write(path, {})
        out = str(tmp_path / "v.pt")
        assert cli.main(["convert", str(path), "--out", out, "--scores", "p_good"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "holds no tensors" in error


@pytest.mark.parametrize(
    "beside",
    [
        {"dense.weight": SQUARE, "dense.bias": torch.zeros(H)},
        {"fc1.weight": torch.zeros(H, 3)},
        {"pre_classifier.weight": SQUARE},
        {"encoder.weight": SQUARE},
        {"layers.0.weight": SQUARE},
        {"bert.pooler.dense.weight": SQUARE, "bert.encoder.layer.0.attention.self.weight": BLOCK},
        {"norm.weight": torch.ones(H)},
        {"temperature": torch.ones(1)},
        {"calibration.weight": torch.ones(1, 1)},
        {"scale": torch.tensor(2.0)},
    ],
    ids=lambda tensors: next(iter(tensors)),
)
@pytest.mark.parametrize("name", ["classifier", "score", "model.v_head"])
def test_a_layer_of_the_head_is_not_left_out(
    tmp_path: Path, beside: dict[str, torch.Tensor], name: str
) -> None:
    """Whatever it is called, if it may stand before or behind what is taken."""
    root = name.rpartition(".")[0]
    others = {f"{root}.{key}" if root else key: tensor for key, tensor in beside.items()}

    with pytest.raises(CheckpointError, match="would be left out, and may be part of the head"):
        converted(tmp_path / "m.pt", {f"{name}.weight": LAST, **others})

    assert not (tmp_path / "v.pt").exists()


def test_two_heads_are_no_chain(tmp_path: Path) -> None:
    """Though their shapes fit."""
    with pytest.raises(CheckpointError, match=r"several heads \(score, v_head\)"):
        converted(tmp_path / "m.pt", {"score.weight": LAST, "v_head.weight": SQUARE}, "tanh")


@pytest.mark.parametrize(
    ("head", "model"),
    [
        ("v_head.summary", ("transformer.wte", "transformer.h.0.mlp.c_proj", "transformer.ln_f")),
        ("score", ("model.embed_tokens", "model.layers.0.mlp.down_proj", "model.norm")),
        ("model.score", ("model.embed_tokens", "model.layers.0.mlp.down_proj", "model.norm")),
        ("value_head", ("embed_tokens", "layers.11.self_attn.o_proj", "norm", "lm_head")),
    ],
)
def test_the_model_that_a_head_reads_is_left_out(
    tmp_path: Path, head: str, model: tuple[str, ...]
) -> None:
    """With layers as wide as its states, and its last norm."""
    others = {f"{name}.weight": torch.ones(H) if "n" in name[-4:-1] else SQUARE for name in model}

    done = converted(tmp_path / "m.pt", {**others, f"{head}.weight": LAST})

    assert done.left_out == tuple(others)


@pytest.mark.parametrize(
    "names", [("input", "hidden", "output"), ("a", "b", "output"), ("fc1", "lin2", "out")]
)
def test_an_order_that_is_not_certain_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Two square layers under words fit in either order."""
    tensors = {f"{n}.weight": t for n, t in zip(names, (SQUARE, SQUARE, LAST), strict=True)}

    with pytest.raises(CheckpointError, match="comes first is not certain"):
        converted(tmp_path / "m.pt", tensors, "tanh-relu")


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("fc2", "fc10", "a"), (H, H, H)),
        (("0", "2.linear", "4"), (H, H, H)),
        (("z", "m", "a"), (H, 5, 3)),
        (("classifier.out", "classifier.mid", "classifier.dense"), (H, H, 3)),
    ],
)
def test_an_order_that_is_certain_is_kept(
    tmp_path: Path, names: tuple[str, ...], sizes: tuple[int, ...]
) -> None:
    """By numbers, or by shapes that fit in one way."""
    torch.manual_seed(0)
    linears = [nn.Linear(a, b) for a, b in zip(sizes, (*sizes[1:], 1), strict=True)]
    tensors = {
        f"{name}.{key}": tensor
        for name, linear in zip(names, linears, strict=True)
        for key, tensor in linear.state_dict().items()
    }
    converted(tmp_path / "m.pt", dict(sorted(tensors.items())), "tanh-relu")

    x = torch.randn(5, H)
    first, second, last = linears
    expected = last(second(first(x).tanh()).relu()).squeeze(-1)
    torch.testing.assert_close(load_value_head(tmp_path / "v.pt").logit(x), expected)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({**LINEAR, "layer": 12, "pooling": "mean"}, "layer = 12.*pooling = 'mean'"),
        ({"state_dict": LINEAR, "args": {"layer": 12}}, r"args\.layer = 12"),
        ({"state_dict": LINEAR, "runs": [{"layer": 12}]}, "layer = 12"),
        ({"model": {**LINEAR, "layer": 12}}, "layer = 12"),
        ({"state_dict": LINEAR, "hidden_size": 9}, "reads hidden states of 8"),
        ({"state_dict": LINEAR, "scores": "unsafe"}, "contradict each other"),
        ({"state_dict": LINEAR, "a\nERROR layer": 3}, "layer"),
        ({"model": LINEAR, "head": LINEAR}, "several sets of tensors"),
        ({"model": LINEAR, "ema": LINEAR}, "several sets of tensors"),
        ({"model": LINEAR, "scaler": {"mean": torch.zeros(H)}}, "several sets of tensors"),
        ({"state_dict": LINEAR, "mean": torch.zeros(H)}, "several sets of tensors"),
    ],
)
def test_what_a_checkpoint_says_of_itself_counts(
    tmp_path: Path, content: dict[str, Any], said: str
) -> None:
    """As a sidecar does; of two state dicts neither wins."""
    with pytest.raises(CheckpointError, match=said) as caught:
        converted(tmp_path / "m.pt", content)

    assert str(caught.value).isprintable()


def test_what_a_checkpoint_says_is_understood(tmp_path: Path) -> None:
    """And kept; the optimizer's state is none of it."""
    own = {"layer": -1, "scores": "unsafe", "threshold": 0.3, "model_name": "org/m", "epoch": 3}
    adam = {"state": {0: {"step": 3}}, "param_groups": [{"temperature": 3}]}
    path = tmp_path / "m.pt"
    content = {"state_dict": LINEAR, "args": own, "threshold": 0.3, "optimizer": adam}
    torch.save({**content, "rng_state": torch.zeros(9, dtype=torch.uint8)}, path)

    convert_head(path, tmp_path / "v.pt")

    card = load_value_head(tmp_path / "v.pt").card
    assert (card.scores, card.threshold, card.backbone) == (UNDESIRABLE, 0.3, "org/m")
    assert card.meta["args.epoch"] == 3


def test_checkpoint_and_sidecar_must_agree(tmp_path: Path) -> None:
    """Neither wins."""
    torch.save({"state_dict": LINEAR, "threshold": 0.3}, tmp_path / "m.pt")
    sidecar(tmp_path / "m.pt").write_text('{"threshold": 0.4, "by": "x"}', encoding="utf-8")

    with pytest.raises(CheckpointError, match="states other thresholds than the card"):
        convert_head(tmp_path / "m.pt", tmp_path / "v.pt", scores=GOOD)


def test_values_that_hold_each_other_are_refused(tmp_path: Path) -> None:
    """A pickle can."""
    loop: dict[str, Any] = {}
    loop["loop"] = loop

    with pytest.raises(CheckpointError, match="too much beside its tensors"):
        converted(tmp_path / "m.pt", {"state_dict": LINEAR, "args": loop})


def test_the_metadata_of_safetensors_counts(tmp_path: Path) -> None:
    """Of a file to convert and of a head of ours."""
    path = tmp_path / "m.safetensors"
    save_file(LINEAR, path, {"format": "pt", "layer": "12"})
    with pytest.raises(CheckpointError, match="layer = 12"):
        convert_head(path, tmp_path / "v.pt", scores=GOOD)

    weights = {k: t.clone() for k, t in ValueHead(4).state_dict().items()}
    save_file(weights, path, {"pooling": "mean"})
    with pytest.raises(CheckpointError, match="pooling = 'mean'"):
        load_value_head(path)
    save_file(weights, path, {"format": "pt", "hidden_size": "4", "scores": "unsafe"})
    assert load_value_head(path).card.scores is UNDESIRABLE


@pytest.mark.parametrize("stated", ["gelu", "tanh"])
def test_a_stated_activation_contradicts_another(tmp_path: Path, stated: str) -> None:
    """What follows the layers is stated once."""
    content = {"0.weight": SQUARE, "2.weight": LAST, "activation": stated}

    with pytest.raises(CheckpointError, match=f"activation says {stated}, --activation relu"):
        converted(tmp_path / "m.pt", content, "relu")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"coef": np.ones(H), "coef_": np.zeros(H)}, "the same with _ at the end"),
        ({"coef": np.ones(H), "mean": np.ones(H), "mean_": np.ones(H)}, "the same with _"),
        ({"coef_": np.ones(H), "classes_": np.array(["safe", "safe"])}, "two classes"),
        ({"coef_": np.ones(H), "classes_": np.array([1, 0])}, "two classes"),
        ({"coef_": np.ones(H), "classes_": np.array([0, 1]), "classes": [0, 1]}, "two classes"),
        ({"coef_": np.ones(H), "classes_": np.array(["bad", "harmful"])}, "contradict each other"),
        ({"coef_": np.ones(H), "classes_": np.array(["safe", "other"])}, "contradict each other"),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    """None of them wins."""
    with pytest.raises(CheckpointError, match=said):
        converted(tmp_path / "m.npz", arrays)


def test_the_prompts_of_a_trained_head_do_not_stay_beside_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calibration would refuse these and allow those that the new one was trained on."""
    out, listed = tmp_path / "v.pt", tmp_path / "v.pt.prompts.txt"
    save_value_head(out, ValueHead(H), HeadCard(H))
    listed.write_text("p1\n", encoding="utf-8")
    before = out.read_bytes()
    torch.save(LINEAR, tmp_path / "m.pt")
    command = ["convert", str(tmp_path / "m.pt"), "--out", str(out), "--scores", "p_good"]

    assert cli.main(command) == 2

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "lists the prompts" in error
    assert (out.read_bytes(), listed.read_text(encoding="utf-8")) == (before, "p1\n")


def test_any_statement_of_a_checkpoint_is_that_of_a_sidecar(tmp_path: Path) -> None:
    """The same words, refused in both."""
    for stated in ({"hook": "blocks.3"}, {"agg": "mean"}, {"flip": True}, {"temperature": 2.0}):
        torch.save({**LINEAR, **stated}, tmp_path / "m.pt")
        with pytest.raises(CheckpointError):
            convert_head(tmp_path / "m.pt", tmp_path / "v.pt", scores=GOOD)
        torch.save(LINEAR, tmp_path / "m.pt")
        sidecar(tmp_path / "m.pt").write_text(json.dumps({"x": 1, **stated}), encoding="utf-8")
        with pytest.raises(CheckpointError):
            convert_head(tmp_path / "m.pt", tmp_path / "v.pt", scores=GOOD)
        sidecar(tmp_path / "m.pt").unlink()
