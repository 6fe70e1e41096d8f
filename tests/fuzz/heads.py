"""Heads, their sidecars, what ``convert`` takes, and the state of a training run."""

from __future__ import annotations

import functools
import io
import pickle
import pickletools
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from tests.fuzz.made import TEXTS, changed, damaged, json_text
from tests.fuzz.target import Target, of_file, ours
from tests.head_files import HIDDEN, weights_of, write
from tests.training.material import HIDDEN as WIDTH
from tests.training.material import separable
from value_steer.train_probe import train_probe
from value_steer.training import TrainingOptions
from value_steer.value_probe import HeadCard, Polarity, ValueHead, load_value_head, save_value_head
from value_steer.value_probe.checkpoint import sidecar
from value_steer.value_probe.convert import convert_head

CARD = {
    "hidden_size": HIDDEN,
    "scores": "p_good",
    "threshold": 0.5,
    "curves": [{"quantity": "abstain_reward", "points": [[0.1, "never"], [0.2, 0.1]], "n": 9}],
    "meta": {"epochs": 3},
}
FOREIGN = {
    "method": "conformal",
    "alphas": [0.05, 0.25],
    "thresholds": [0.75, 0.52],
    "n": 60,
    "layer": -1,
    "pooling": "none",
    "scores": "unsafe",
    "config": {"model": "m", "hidden_size": HIDDEN, "normalize": False},
}


def _sidecar(folder: Path, made: bytes) -> None:
    path = folder / "head.pt"
    if not path.exists():
        write(path, weights_of(ValueHead(HIDDEN)))
    sidecar(path).write_bytes(made)
    ours(lambda: [load_value_head(path).card])


_OPCODES = st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes])
_USUAL = (
    *(b"\x80\x02", b"(", b"K\x01", b"J\xff\xff\xff\x7f", b"X\x01\0\0\0a", b"}", b".", b"Q", b"R"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"),
)
_PICKLES = st.lists(
    st.one_of(_OPCODES, st.binary(max_size=8), st.sampled_from(_USUAL)), max_size=30
).map(b"".join)


@st.composite
def _containers(draw: st.DrawFn) -> bytes:
    """A pickle in one of torch's two containers."""
    body = draw(_PICKLES)
    if draw(st.booleans()):
        numbers = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
        return b"".join(pickle.dumps(n, protocol=2) for n in numbers) + body
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", body)
        archive.writestr("a/data/a", b"\0\0\0\0")
    return buffer.getvalue()


@functools.cache
def _saved(suffix: str) -> bytes:
    """A good head as a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"head{suffix}")
        save_value_head(path, ValueHead(HIDDEN), HeadCard(HIDDEN))
        return path.read_bytes()


def _npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


_SHAPES = st.sampled_from([(), (0,), (1,), (4,), (1, 4), (4, 1), (2, 4), (4, 4), (1, 1, 4)])
_KINDS = st.sampled_from(["f8", "f4", "f2", "i8", "u1", "?", "c16", "U3", "O", "M8[s]", ">f4"])
_NAMES = st.sampled_from(["coef_", "intercept_", "mean_", "scale_", "classes_", "x", "a/../b"])


@st.composite
def _arrays(draw: st.DrawFn) -> bytes:
    """The export of a regression, more or less."""
    arrays: dict[str, Any] = {"coef_": np.zeros((1, 4)), "intercept_": np.zeros(1)}
    for _ in range(draw(st.integers(0, 3))):
        fill = draw(st.sampled_from([0, 1, -1, 65504]))
        arrays[draw(_NAMES)] = np.full(draw(_SHAPES), fill).astype(draw(_KINDS))
    return draw(damaged(_npz(arrays)))


_TENSORS = st.sampled_from(
    [
        *("weight", "bias", "0.weight", "0.bias", "3.weight", "3.bias", "v_head.summary.weight"),
        *("v_head.summary.bias", "score.weight", "value_head.weight", "module.0.weight", "lm_head"),
        *("_orig_mod.weight", "2.weight", "2.bias", "linear.weight", "model.layers.0.q.weight"),
    ]
)
_DTYPES = st.sampled_from(["float32", "bfloat16", "float16", "int64", "bool", "complex64"])


@st.composite
def _state_dicts(draw: st.DrawFn) -> bytes:
    """Tensors under the names of several packages."""
    body: Any = {}
    for name in draw(st.lists(_TENSORS | TEXTS, max_size=5)):
        shape = draw(_SHAPES | st.sampled_from([(4,), (1, 4), (2, 4), (1,)]))
        fill = draw(st.sampled_from([0.0, 1.0, float("nan"), float("inf"), 1e38]))
        body[name] = torch.full(shape, 1.0).mul(fill).to(getattr(torch, draw(_DTYPES)))
    if draw(st.integers(0, 4)) == 0:
        body = draw(st.sampled_from([[body], {"state_dict": body}, {"model": body, "epoch": 1}]))
    buffer = io.BytesIO()
    torch.save(body, buffer)
    return buffer.getvalue()


def _converted(path: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's and torch's own
        return convert_head(path, path.with_name("converted.pt"), scores=Polarity.P_GOOD)


@functools.cache
def _state() -> bytes:
    """The state file of a run of two epochs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.state")
        _train(path)
        return path.read_bytes()


def _train(path: Path) -> object:
    torch.manual_seed(0)
    return train_probe(
        None,
        ValueHead(WIDTH),
        separable(4, batch=2),
        separable(4, batch=2),
        options=TrainingOptions(epochs=2),
        state_file=path,
        progress=False,
    )


@st.composite
def _states(draw: st.DrawFn) -> bytes:
    """A state file that was damaged, or in which something else is saved."""
    if draw(st.integers(0, 2)) == 0:
        return draw(damaged(_state()))
    plain = st.integers(-3, 3) | st.floats() | st.text(max_size=3) | st.none()
    tensors = st.sampled_from([torch.zeros(1), torch.zeros(0, dtype=torch.uint8)])
    body = torch.load(io.BytesIO(_state()), weights_only=True)
    buffer = io.BytesIO()
    torch.save(draw(changed(body, plain | tensors | st.just([]))), buffer)
    return buffer.getvalue()


TARGETS = (
    Target("sidecar of ours", json_text(CARD), _sidecar),
    Target("sidecar of another package", json_text(FOREIGN), _sidecar),
    of_file("pickle of a head", _containers(), load_value_head, "head.pt"),
    of_file("head .pt, damaged", damaged(_saved(".pt")), load_value_head, "head.pt"),
    of_file(
        "head .safetensors, damaged",
        damaged(_saved(".safetensors")),
        load_value_head,
        "head.safetensors",
    ),
    of_file("convert .npz", _arrays(), _converted, "m.npz"),
    of_file("convert .pt", _state_dicts(), _converted, "m.pt"),
    of_file("state of a training run", _states(), _train, "run.state"),
)
