"""Value heads that come back from disk, and what is not written at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from tests.head_files import HIDDEN, SUFFIXES, weights_of, write
from value_steer.errors import CheckpointError
from value_steer.value_probe import HeadCard, Polarity, ValueHead, load_value_head, save_value_head
from value_steer.value_probe.checkpoint import sidecar

if TYPE_CHECKING:
    from pathlib import Path

CARD = HeadCard(HIDDEN, scores=Polarity.P_GOOD, threshold=0.5, backbone="some/model")

every_format = pytest.mark.parametrize("suffix", SUFFIXES)


@pytest.fixture
def head() -> ValueHead:
    """A head with reproducible weights."""
    torch.manual_seed(5)
    return ValueHead(HIDDEN)


@every_format
def test_a_head_comes_back_as_it_was(head: ValueHead, tmp_path: Path, suffix: str) -> None:
    """Weights, card and dtype survive; gradients are off; only head and sidecar are left behind."""
    path = tmp_path / f"v{suffix}"

    save_value_head(path, head, CARD)
    loaded = load_value_head(path, hidden_size=HIDDEN)

    assert loaded.card == CARD
    for key, tensor in head.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, f"{path.name}.meta.json"]


@every_format
def test_saving_again_replaces_both_files(head: ValueHead, tmp_path: Path, suffix: str) -> None:
    """The later card is the one that is read, whatever the head's own said."""
    path = tmp_path / f"v{suffix}"
    save_value_head(path, head, CARD)

    save_value_head(str(path), head, replace(CARD, threshold="never"))

    assert load_value_head(path).card.threshold == "never"


@every_format
def test_a_bare_state_dict_loads_with_a_card_that_claims_nothing(
    head: ValueHead, tmp_path: Path, suffix: str
) -> None:
    """Published heads have no sidecar."""
    path = write(tmp_path / f"v{suffix}", weights_of(head))

    assert load_value_head(path).card == HeadCard(HIDDEN)


@every_format
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_the_prefixes_of_wrappers_are_left_out(
    head: ValueHead, tmp_path: Path, suffix: str, prefix: str
) -> None:
    """Data parallelism and torch.compile put them before every name."""
    wrapped = {prefix + key: tensor for key, tensor in weights_of(head).items()}
    loaded = load_value_head(write(tmp_path / f"v{suffix}", wrapped)).state_dict()

    assert all(torch.equal(loaded[key], tensor) for key, tensor in head.state_dict().items())


@every_format
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_as_fp32(
    head: ValueHead, tmp_path: Path, suffix: str, dtype: torch.dtype
) -> None:
    """Half-precision weights keep their values."""
    stored = {key: tensor.to(dtype) for key, tensor in weights_of(head).items()}
    loaded = load_value_head(write(tmp_path / f"v{suffix}", stored)).state_dict()

    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}
    assert all(torch.equal(loaded[key], stored[key].float()) for key in stored)


def test_safetensors_carry_their_card_inside(head: ValueHead, tmp_path: Path) -> None:
    """Moving the file without its sidecar loses nothing."""
    save_value_head(tmp_path / "v.safetensors", head, CARD)
    sidecar(tmp_path / "v.safetensors").unlink()

    assert load_value_head(tmp_path / "v.safetensors").card == CARD


def test_a_sidecar_that_contradicts_the_card_inside_is_refused(
    head: ValueHead, tmp_path: Path
) -> None:
    """Which of the two is right would be a guess."""
    path = tmp_path / "v.safetensors"
    save_value_head(path, head, CARD)
    sidecar(path).write_text('{"hidden_size": 4, "scores": "p_undesirable"}', encoding="utf-8")

    with pytest.raises(CheckpointError, match=r"v\.safetensors\.meta\.json contradicts"):
        load_value_head(path)


def nan_head() -> ValueHead:
    """A head whose training diverged."""
    head = ValueHead(HIDDEN)
    with torch.no_grad():
        head.get_parameter("4.bias").fill_(float("nan"))
    return head


@pytest.mark.parametrize(
    ("name", "wrong", "card", "said"),
    [
        ("v.onnx", ValueHead(HIDDEN), CARD, "unknown suffix"),
        ("v.pt", ValueHead(HIDDEN + 1), CARD, "its card says hidden size 4"),
        ("v.pt", nan_head(), CARD, "not made of finite"),
        ("v.pt", ValueHead(HIDDEN), replace(CARD, threshold=2.0), "threshold = 2.0"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(
    tmp_path: Path, name: str, wrong: ValueHead, card: HeadCard, said: str
) -> None:
    """Nothing is written."""
    with pytest.raises(CheckpointError, match=said):
        save_value_head(tmp_path / name, wrong, card)

    assert list(tmp_path.iterdir()) == []


@every_format
def test_a_failed_write_leaves_the_former_head(
    head: ValueHead, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file takes the old one's place only when it is complete."""
    path = tmp_path / f"v{suffix}"
    save_value_head(path, head, CARD)

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("value_steer.records.files.os.fsync", full_disk)
    with pytest.raises(CheckpointError, match=r"No space left on device.*what was there is kept"):
        save_value_head(path, ValueHead(HIDDEN), replace(CARD, threshold="never"))

    assert torch.equal(load_value_head(path).state_dict()["0.bias"], head.state_dict()["0.bias"])
    assert load_value_head(path).card == CARD
    assert len(list(tmp_path.iterdir())) == 2
