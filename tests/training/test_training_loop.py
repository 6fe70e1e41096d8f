"""Training: what is learned, when it ends, and what is left behind."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from tests.training.material import HIDDEN, Batch, random_labels, separable
from value_steer.errors import SettingsError
from value_steer.train_probe import train_probe
from value_steer.training import (
    ABSTENTION,
    FILTERING,
    HeadMetrics,
    TrainingError,
    TrainingOptions,
)
from value_steer.value_probe import CalibrationCurve, Polarity, ValueHead
from value_steer.value_probe.head import Architecture

FAST = replace(FILTERING, learning_rate=3e-3)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("architecture", Architecture)
@pytest.mark.parametrize(
    "options",
    [
        FAST,
        replace(FAST, loss_name="bce"),
        replace(FAST, loss_name="mse"),
        replace(FAST, use_td=False, weighting="pooled"),
        replace(ABSTENTION, learning_rate=3e-3),
    ],
    ids=["focal", "bce", "mse", "pooled", "abstention"],
)
def test_a_separable_set_is_separated(options: TrainingOptions, architecture: Architecture) -> None:
    """By every loss and both papers' heads; on data that was not trained on."""
    head = ValueHead(HIDDEN, architecture)

    report = train_probe(None, head, separable(256, 1), separable(128, 2), options=options)

    metrics = report.best.validation
    assert metrics is not None
    assert (metrics.sequences, head.training) == (128, False)
    for auroc in (metrics.auroc_first, metrics.auroc_middle, metrics.auroc_last):
        assert auroc is not None
        assert auroc > 0.95
    assert report.epochs[-1].train_loss < 0.6 * report.epochs[0].train_loss


def test_one_label_a_token_is_learned_as_well() -> None:
    """Returns of [B, T] by MSE: the head tells how far each token is."""
    hidden = torch.rand(64, 6, HIDDEN)
    returns = hidden[..., 0]
    batch = {"hidden_states": hidden, "attention_mask": torch.ones(64, 6), "labels": returns}
    head = ValueHead(HIDDEN)
    options = TrainingOptions(loss_name="mse", use_td=False, learning_rate=1e-2, epochs=150)

    report = train_probe(None, head, [batch], options=options)

    assert report.epochs[-1].train_loss < returns.var().item() / 20


def test_the_three_settings_outrank_the_options() -> None:
    """The call of the documentation and the one with a record of options are the same run."""
    heads = []
    for settings in (
        {"loss_name": "focal", "use_td": True, "coh_weight": 0.3},
        {"options": TrainingOptions(coh_weight=0.3)},
    ):
        torch.manual_seed(0)
        heads.append(ValueHead(HIDDEN))
        train_probe(None, heads[-1], separable(32), **settings)

    assert all(torch.equal(*pair) for pair in zip(*(h.parameters() for h in heads), strict=True))


def test_more_smoothness_makes_smoother_trajectories() -> None:
    """The term does what it is for."""

    def roughness(coh_weight: float) -> float:
        torch.manual_seed(0)
        head = ValueHead(HIDDEN)
        train_probe(None, head, separable(128), coh_weight=coh_weight, options=FAST)
        logits = head.logit(separable(128, 5)[0]["hidden_states"])
        return float(logits.diff(dim=1).square().mean().detach())

    assert roughness(10.0) < roughness(0.0) / 4


def test_a_run_without_hope_stops_early() -> None:
    """After ``patience`` epochs without progress, with the weights of the best epoch."""
    validation = random_labels(64, 9)
    head = ValueHead(HIDDEN)
    options = TrainingOptions(learning_rate=1e-2, epochs=40, patience=2, decay="none")

    report = train_probe(None, head, random_labels(32), validation, options=options)

    losses = [epoch.validation.loss for epoch in report.epochs if epoch.validation is not None]
    assert report.stopped_early
    assert len(report.epochs) == report.best_epoch + 2 < 40
    assert report.steps == 2 * len(report.epochs)
    assert losses[report.best_epoch - 1] == min(losses)
    again = train_probe(
        None, head, random_labels(32), validation, options=replace(options, learning_rate=1e-12)
    )
    assert again.epochs[0].validation is not None
    assert again.epochs[0].validation.loss == pytest.approx(min(losses), abs=1e-6)


def test_without_patience_or_validation_every_epoch_is_run() -> None:
    """And the last one's weights are kept."""
    options = TrainingOptions(epochs=5, patience=1, min_delta=10.0)

    blind = train_probe(None, ValueHead(HIDDEN), random_labels(32), options=options)
    patient = train_probe(
        None,
        ValueHead(HIDDEN),
        random_labels(32),
        random_labels(32),
        options=replace(options, patience=None),
    )

    assert (len(blind.epochs), blind.best_epoch, blind.stopped_early) == (5, 5, False)
    assert (len(patient.epochs), patient.best_epoch, patient.stopped_early) == (5, 1, False)


def test_validation_does_not_depend_on_its_batches() -> None:
    """One batch of 64 or eight of 8: the same loss and metrics."""
    (whole,) = separable(64, 3, batch=64)
    parts = [{key: part[i : i + 8] for key, part in whole.items()} for i in range(0, 64, 8)]

    def validated(validation: list[Batch]) -> HeadMetrics:
        torch.manual_seed(0)
        head = ValueHead(HIDDEN, Architecture.TWO_LAYER)
        report = train_probe(None, head, separable(32), validation, options=FAST)
        assert report.best.validation is not None
        return report.best.validation

    few, many = validated([whole]), validated(parts)

    assert many.loss == pytest.approx(few.loss, rel=1e-5)
    assert many.auroc_last == few.auroc_last
    assert many.calibration_error == pytest.approx(few.calibration_error, abs=1e-6)


def test_the_learning_rate_follows_the_schedule() -> None:
    """It falls from epoch to epoch and nearly to zero."""
    report = train_probe(None, ValueHead(HIDDEN), separable(64), options=FAST)

    rates = [epoch.learning_rate for epoch in report.epochs]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(3e-3 / 36)


def test_gradients_are_clipped() -> None:
    """The last step's, which are still there, have the norm that is allowed."""
    head = ValueHead(HIDDEN)

    train_probe(None, head, separable(16), options=TrainingOptions(clip_norm=1e-3, epochs=1))

    gradients = [weight.grad for weight in head.parameters() if weight.grad is not None]
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize(
    ("architecture", "differs"), [(Architecture.TWO_LAYER, True), (Architecture.THREE_LAYER, False)]
)
def test_dropout_is_active_in_training_alone(architecture: Architecture, *, differs: bool) -> None:
    """The head of "Knowing When to Quit" draws its dropout; the other has none."""
    start = ValueHead(HIDDEN, architecture).state_dict()
    trained = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        head = ValueHead(HIDDEN, architecture)
        head.load_state_dict(start)
        train_probe(None, head, separable(16), options=FAST)
        trained.append(head.state_dict()["0.weight"])
        states = separable(16)[0]["hidden_states"]
        assert torch.equal(head.p(states), head.p(states))

    assert torch.equal(*trained) is not differs


def poisoned(at: int) -> list[Batch]:
    """Batches of which one holds a state that is not a number, where it is not padding."""
    batches = separable(64)
    batches[at]["hidden_states"][3, 0, 2] = float("nan")
    return batches


def test_a_loss_that_is_not_a_number_ends_the_run() -> None:
    """At the step that is named; the head keeps the weights of the step before."""
    clean, head = ValueHead(HIDDEN), ValueHead(HIDDEN)
    head.load_state_dict(clean.state_dict())

    with pytest.raises(TrainingError, match=r"loss is nan at step 3 \(epoch 1, batch 3 of"):
        train_probe(None, head, poisoned(2), options=FAST)

    weights = list(head.parameters())
    assert all(weight.isfinite().all() for weight in weights)
    assert not torch.equal(weights[0], next(clean.parameters()))


def test_what_stands_in_the_padding_is_never_seen() -> None:
    """Not even if it is not a number."""
    batches = separable(64)
    for batch in batches:
        batch["hidden_states"][batch["attention_mask"] == 0] = float("nan")
    head = ValueHead(HIDDEN)

    report = train_probe(None, head, batches, batches, options=FAST)

    assert report.best.validation is not None
    assert all(weight.isfinite().all() for weight in head.parameters())


def test_validation_data_that_is_not_a_number_is_named() -> None:
    """It would silence early stopping."""
    with pytest.raises(TrainingError, match="loss on the validation data is nan"):
        train_probe(None, ValueHead(HIDDEN), separable(16), poisoned(0))


def test_an_empty_validation_set_is_refused() -> None:
    """It says nothing about the head."""
    with pytest.raises(TrainingError, match="validation loader yielded no batch"):
        train_probe(None, ValueHead(HIDDEN), separable(16), [])


def test_settings_out_of_range_are_refused_here_too() -> None:
    """Whichever way they come."""
    with pytest.raises(SettingsError, match="coh_weight = -1"):
        train_probe(None, ValueHead(HIDDEN), separable(16), coh_weight=-1)
    with pytest.raises(SettingsError, match="state_every = 0"):
        train_probe(None, ValueHead(HIDDEN), separable(16), state_every=0)


def test_a_loaded_head_can_be_trained_further() -> None:
    """Its gradients are turned on, and the calibration of its former weights is dropped."""
    head = ValueHead(HIDDEN).requires_grad_(requires_grad=False)
    curve = CalibrationCurve("alpha", ((0.1, 0.9),), n=50)
    head.card = replace(head.card, scores=Polarity.P_UNDESIRABLE, threshold=0.5, curves=(curve,))
    before = next(head.parameters()).clone()

    train_probe(None, head, separable(32), options=FAST)

    assert not torch.equal(before, next(head.parameters()))
    assert head.card.scores is Polarity.P_UNDESIRABLE
    assert (head.card.threshold, head.card.curves) == (None, ())


def test_each_epoch_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With its losses and metrics, where there is no terminal for a bar."""
    caplog.set_level(logging.INFO, "value_steer")

    train_probe(
        None, ValueHead(HIDDEN), separable(16), separable(16), options=TrainingOptions(epochs=2)
    )

    first, second = caplog.messages
    assert "epoch 1: training loss" in first
    assert "AUROC first / middle / last" in second
