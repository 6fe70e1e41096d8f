"""Batches that cannot be trained on are refused in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.training.material import HIDDEN, separable
from value_steer.train_probe import train_probe
from value_steer.training import TrainingError
from value_steer.training.batches import response_tokens
from value_steer.value_probe import ValueHead


def refused(batch: Any, **changes: Any) -> str:
    """What training says of it."""
    if changes:
        batch = {key: value for key, value in {**batch, **changes}.items() if value is not None}
    with pytest.raises(TrainingError) as caught:
        train_probe(None, ValueHead(HIDDEN), [batch])
    return str(caught.value)


def batch() -> dict[str, Any]:
    """A good one."""
    return dict(separable(4)[0])


@pytest.mark.parametrize("label", [1.5, -0.1, float("nan")])
def test_a_label_that_is_no_probability(label: float) -> None:
    """The batch, the sequence and the label are named."""
    labels = torch.tensor([0.0, 1.0, label, 0.0])

    said = refused(batch(), labels=labels)

    assert "epoch 1, batch 1 of the training data" in said
    assert f"the label of sequence 2 at position 0 is {torch.tensor(label).item()}" in said


def test_a_label_in_the_padding_may_be_anything() -> None:
    """As with the -100 of other tools."""
    raw = batch()
    mask = raw["attention_mask"]

    tokens = response_tokens({**raw, "labels": torch.where(mask == 1, 1, -100)}, (4, 6), "here")

    assert tokens.labels.tolist() == [1.0] * int(mask.sum())


def test_a_batch_without_response_tokens() -> None:
    """A mask of zeros, or two that do not meet."""
    mask = batch()["attention_mask"]

    assert "no response tokens" in refused(batch(), attention_mask=torch.zeros_like(mask))
    assert "no response tokens" in refused(batch(), response_mask=1 - mask)


def test_a_sequence_without_response_tokens_has_no_say() -> None:
    """As long as another one has some."""
    raw = batch()
    mask = torch.ones_like(raw["attention_mask"])
    mask[1] = 0

    tokens = response_tokens({**raw, "response_mask": mask, "labels": raw["labels"]}, (4, 6), "")

    assert set(tokens.rows.tolist()) == {0, 2, 3}


def test_both_masks_count() -> None:
    """A response token that is not padding."""
    raw = {
        "attention_mask": torch.tensor([[1, 1, 1, 0]]),
        "response_mask": torch.tensor([[0, 1, 1, 1]]),
        "labels": torch.tensor([[0.1, 0.2, 0.3, 0.4]]),
    }

    tokens = response_tokens(raw, (1, 4), "here")

    assert tokens.columns.tolist() == [1, 2]
    torch.testing.assert_close(tokens.labels, torch.tensor([0.2, 0.3]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": None}, "no labels"),
        ({"attention_mask": None}, "no attention_mask"),
        ({"hidden_states": None}, "with backbone=None it holds hidden_states"),
        ({"respones_mask": torch.ones(4, 6)}, "unknown keys respones_mask"),
        ({"labels": torch.ones(3)}, r"labels have shape (3,), expected (4,)"),
        ({"labels": torch.ones(4, 5)}, "labels have shape (4, 5)"),
        ({"response_mask": torch.ones(4, 7)}, "response_mask has shape (4, 7), expected (4, 6)"),
        ({"hidden_states": torch.ones(4, HIDDEN)}, "expected [B, T, H]"),
        ({"hidden_states": torch.ones(4, 6, HIDDEN).long()}, "floating point"),
        ({"hidden_states": torch.ones(4, 6, HIDDEN + 1)}, f"make it ValueHead({HIDDEN + 1})"),
    ],
)
def test_a_malformed_batch(changes: dict[str, Any], said: str) -> None:
    """What is missing, unknown or of the wrong shape."""
    assert said in refused(batch(), **changes)


def test_something_that_is_no_batch() -> None:
    """A tuple, as data sets of other tasks yield."""
    assert "a tuple is no batch" in refused((torch.ones(4), torch.ones(4)))


@pytest.mark.parametrize("loader", [[], iter(separable(4))], ids=["empty", "without a length"])
def test_a_loader_that_the_schedule_cannot_use(loader: Any) -> None:
    """It must know how many steps there are."""
    with pytest.raises(TrainingError, match="empty or has no length"):
        train_probe(None, ValueHead(HIDDEN), loader)


def test_a_loader_that_lies_about_its_length() -> None:
    """Found out at the end of the epoch."""

    class Liar(list[Any]):
        def __len__(self) -> int:
            return 5

    with pytest.raises(TrainingError, match="length 5 but yielded 1"):
        train_probe(None, ValueHead(HIDDEN), Liar(separable(4)))


def test_a_cached_batch_is_read_by_its_names() -> None:
    """What the feature cache yields, and the mapping of the same, train the same head."""
    (raw,) = separable(8)
    cached = SimpleNamespace(
        hidden=raw["hidden_states"], mask=raw["attention_mask"].bool(), labels=raw["labels"]
    )
    heads = []
    for one in (raw, cached):
        torch.manual_seed(0)
        heads.append(ValueHead(HIDDEN))
        train_probe(None, heads[-1], [one])

    assert all(torch.equal(*pair) for pair in zip(*(h.parameters() for h in heads), strict=True))
