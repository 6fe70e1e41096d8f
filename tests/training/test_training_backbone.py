"""The feature is the tensor that ``lm_head`` consumes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.material import tiny_mistral
from value_steer.train_probe import train_probe
from value_steer.training import TrainingError, TrainingOptions
from value_steer.training.backbone import Backbone
from value_steer.value_probe import ValueHead

IDS = torch.randint(4, 64, (2, 5), generator=torch.Generator().manual_seed(0))
ALL = torch.ones_like(IDS)


def test_it_is_the_last_hidden_state_after_the_final_norm() -> None:
    """As the reference decoder takes it."""
    model = tiny_mistral()

    features = Backbone(model).features(IDS, ALL)

    with torch.no_grad():
        output = model(IDS, attention_mask=ALL, output_hidden_states=True)
        logits = model.get_output_embeddings()(features)
    assert torch.equal(features, output.hidden_states[-1])
    torch.testing.assert_close(logits, output.logits)


def test_it_is_what_lm_head_consumes_even_where_that_is_not_a_hidden_state() -> None:
    """A model that scales before its output embeddings, as MiniCPM does."""
    model = tiny_mistral()
    model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0] / 4,))

    features = Backbone(model).features(IDS, ALL)

    with torch.no_grad():
        last = model(IDS, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(features, last / 4)


def test_padding_on_the_right_changes_nothing_before_it() -> None:
    """A response is scored as if it were alone."""
    backbone = Backbone(tiny_mistral())
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])

    padded = backbone.features(IDS, mask)
    alone = backbone.features(IDS[:1, :3], ALL[:1, :3])

    torch.testing.assert_close(padded[0, :3], alone[0])


def test_padding_on_the_left_is_refused() -> None:
    """With the remedy."""
    with pytest.raises(TrainingError, match="padding_side"):
        Backbone(tiny_mistral()).features(IDS, torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]))


class Talker(nn.Module):
    """A model without output embeddings."""

    def __init__(self, *, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, 8)
        self.layers = layers

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **options: Any) -> Any:
        """As many hidden states as asked for."""
        assert options == {"output_hidden_states": True}
        hidden = self.embed(input_ids) * attention_mask[..., None]
        return SimpleNamespace(hidden_states=(hidden,) * self.layers)


class Narrow(Talker):
    """A model that cannot be asked for hidden states."""

    def forward(self, input_ids: Tensor) -> Any:  # type: ignore[override]
        """Tokens in, embeddings out."""
        return self.embed(input_ids)


def test_without_output_embeddings_the_hidden_states_serve() -> None:
    """The last of those that the model returns."""
    model = Talker(layers=2)

    assert torch.equal(Backbone(model).features(IDS, ALL), model.embed(IDS))


@pytest.mark.parametrize("model", [Talker(layers=0), Narrow(layers=1)], ids=["none", "unknown"])
def test_a_backbone_that_gives_no_hidden_states(model: nn.Module) -> None:
    """Neither way: the error names both, and the way around."""
    batch = {"input_ids": IDS, "attention_mask": ALL, "labels": torch.ones(2)}

    with pytest.raises(TrainingError, match=r"output_hidden_states=True.*backbone=None"):
        train_probe(model, ValueHead(8), [batch])


@pytest.mark.parametrize("autocast", [None, "bfloat16"])
def test_the_backbone_is_frozen(autocast: Any) -> None:
    """Weights, modes and hooks are what they were; it ran in evaluation mode, without gradients."""
    model = tiny_mistral(attention_dropout=0.5)
    model.train()
    model.model.norm.eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    head = ValueHead(32)
    batch = {"input_ids": IDS, "attention_mask": ALL, "labels": torch.tensor([0.0, 1.0])}

    report = train_probe(
        model, head, [batch], [batch], options=TrainingOptions(epochs=2, autocast=autocast)
    )

    assert report.epochs[0].validation is not None
    assert model.training
    assert not model.model.norm.training
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.get_output_embeddings()._forward_pre_hooks
    assert next(head.parameters()).dtype == torch.float32


def test_mixed_precision_reaches_the_backbone() -> None:
    """Features in bf16, near those in fp32."""
    model = tiny_mistral()

    exact = Backbone(model).features(IDS, ALL)
    mixed = Backbone(model, "bfloat16").features(IDS, ALL)

    assert not torch.equal(exact, mixed.float())
    torch.testing.assert_close(mixed.float(), exact, atol=0.1, rtol=0.1)


def test_a_batch_of_the_other_kind_is_refused() -> None:
    """Hidden states beside a backbone: one of the two is not meant."""
    batch = {"hidden_states": torch.ones(2, 5, 32), "attention_mask": ALL, "labels": torch.ones(2)}

    with pytest.raises(TrainingError, match="with a backbone a batch holds input_ids"):
        train_probe(tiny_mistral(), ValueHead(32), [batch])


def test_a_head_of_another_size_is_refused() -> None:
    """With the size that it needs."""
    batch = {"input_ids": IDS, "attention_mask": ALL, "labels": torch.ones(2)}

    with pytest.raises(TrainingError, match=r"size 32, but the head reads size 16.*ValueHead\(32"):
        train_probe(tiny_mistral(), ValueHead(16), [batch])
