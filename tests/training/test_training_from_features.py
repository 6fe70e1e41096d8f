"""From a cache and labels to a head that calibration and serving take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.features.samples import HIDDEN, features
from value_steer.calibration.prompts import (
    is_held_out,
    read_training_prompts,
    training_prompts_file,
    write_training_prompts,
)
from value_steer.errors import DataError, SettingsError
from value_steer.features import CacheSpec, FeatureCache
from value_steer.features.errors import FeatureCacheError
from value_steer.training import FILTERING, TrainingError
from value_steer.training import from_features as module
from value_steer.training.from_features import FeatureTraining, train_from_features
from value_steer.value_probe import FeatureSpec, Polarity, load_value_head
from value_steer.value_probe.fingerprint import SettingsFingerprint
from value_steer.value_probe.head import Architecture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMPTS = [f"p{i}" for i in range(60)]
OPTIONS = replace(FILTERING, learning_rate=1e-2, epochs=6)
TRAINING = FeatureTraining(scores=Polarity.P_UNDESIRABLE, batch_size=8)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """Two responses to each of 60 prompts; those to every third one are bad, and look it."""
    spec = CacheSpec(HIDDEN, settings=SettingsFingerprint(model="a/model"))
    filled = FeatureCache.create(tmp_path / "cache", spec)
    for number, prompt in enumerate(PROMPTS):
        good = float(number % 3 > 0)
        both = [features(prompt, 3 + sample, sample=sample, label=good) for sample in (0, 1)]
        for one in both:
            one.hidden[:, 0] += 4 * good - 2
            one.prior[0] += 4 * good - 2
        filled.add(both)
    return filled


def test_the_head_scores_what_it_is_asked_to(cache: FeatureCache, tmp_path: Path) -> None:
    """Labels are 1 for good; a head of P(undesirable) is high on bad responses."""
    for scores in Polarity:
        file = tmp_path / f"{scores.value}.safetensors"
        training = replace(TRAINING, scores=scores)

        report = train_from_features(cache.folder, None, file, training, OPTIONS)

        head = load_value_head(file)
        assert head.card.scores is scores
        validation = report.best.validation
        assert validation is not None
        assert validation.auroc_last is not None
        assert validation.auroc_last > 0.95
        values = [
            torch.cat([head.p(one.hidden) for one in cache if one.response.label == label])
            for label in (0.0, 1.0)
        ]
        rises = values[1].mean().item() > values[0].mean().item()
        assert rises is (scores is Polarity.P_GOOD)


def test_the_card_tells_where_the_head_comes_from(cache: FeatureCache, tmp_path: Path) -> None:
    """Backbone and capture are the cache's; the settings and metrics of the training are there."""
    file = tmp_path / "vhead.pt"
    training = replace(TRAINING, architecture=Architecture.TWO_LAYER)

    report = train_from_features(cache.folder, None, file, training, OPTIONS)

    head = load_value_head(file)
    assert head.architecture is Architecture.TWO_LAYER
    assert head.card.backbone == "a/model"
    assert head.card.feature == FeatureSpec(capture="decode")
    assert report.best.validation is not None
    told = head.card.meta
    assert (told["loss"], told["steps"], told["seed"]) == ("focal", report.steps, 0)
    assert told["validation.auroc_last"] == report.best.validation.auroc_last


def test_the_calibration_prompts_are_not_looked_at(cache: FeatureCache, tmp_path: Path) -> None:
    """Those the split holds out need no labels; the others are listed beside the head."""
    file = tmp_path / "vhead.safetensors"
    seen = [prompt for prompt in PROMPTS if not is_held_out(prompt, 0.2, 0)]
    labels = {one.response.key: 1.0 for one in cache if one.response.key.prompt_id in seen}

    train_from_features(cache.folder, labels, file, TRAINING, OPTIONS)

    assert 0 < len(seen) < len(PROMPTS)
    assert read_training_prompts(training_prompts_file(file)) == set(seen)
    training = [prompt for prompt in seen if TRAINING.trains(prompt)]
    validation = [prompt for prompt in seen if TRAINING.validates(prompt)]
    assert sorted(training + validation) == sorted(seen)
    assert validation


def test_given_labels_outrank_stored_ones(cache: FeatureCache, tmp_path: Path) -> None:
    """Turned round, they make a head that is turned round."""
    turned = {one.response.key: 1 - (one.response.label or 0.0) for one in cache}

    train_from_features(cache.folder, turned, tmp_path / "a.pt", TRAINING, OPTIONS)
    opposite = replace(TRAINING, scores=Polarity.P_GOOD)
    train_from_features(cache.folder, None, tmp_path / "b.pt", opposite, OPTIONS)

    one, other = (load_value_head(tmp_path / name).state_dict() for name in ("a.pt", "b.pt"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_prompts_last_position_can_be_trained_on(cache: FeatureCache, tmp_path: Path) -> None:
    """The first token of a trajectory is then the prior, with the label of the response."""
    for known in (False, True):
        file = tmp_path / f"{known}.pt"
        training = replace(TRAINING, prompt_position=known)
        report = train_from_features(cache.folder, None, file, training, OPTIONS)

        assert report.best.validation is not None
        tokens, sequences = report.best.validation.tokens, report.best.validation.sequences
        assert tokens == sequences * (4.5 if known else 3.5)
        assert load_value_head(file).card.meta["prompt_position"] is known


def test_the_same_seed_gives_the_same_head(cache: FeatureCache, tmp_path: Path) -> None:
    """Whatever was drawn before; and torch's own generator is left as it was."""
    heads = []
    for drawn in (1, 2):
        torch.manual_seed(drawn)
        before = torch.get_rng_state()
        train_from_features(cache.folder, None, tmp_path / "vhead.pt", TRAINING, OPTIONS)
        assert torch.equal(torch.get_rng_state(), before)
        heads.append(load_value_head(tmp_path / "vhead.pt").state_dict())

    assert all(torch.equal(heads[0][key], heads[1][key]) for key in heads[0])


class KilledError(Exception):
    """What ends a run here."""


def test_a_killed_run_is_taken_up(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head is that of an uninterrupted run; the state is gone with the head's arrival."""
    training = replace(TRAINING, architecture=Architecture.TWO_LAYER, prompt_position=True)
    train_from_features(cache.folder, None, tmp_path / "whole.pt", training, OPTIONS)
    file = tmp_path / "vhead.pt"

    class Mortal(module._Batches):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            for number, batch in enumerate(super().__iter__()):
                if len(self) > 3 and number == 3 and file.with_name("vhead.pt.state").exists():
                    raise KilledError
                yield batch

    with monkeypatch.context() as patch:
        patch.setattr(module, "_Batches", Mortal)
        with pytest.raises(KilledError):
            train_from_features(cache.folder, None, file, training, OPTIONS, state_every=1)
    assert not file.exists()

    with pytest.raises(TrainingError, match="state of another run: data is"):
        train_from_features(
            cache.folder, None, file, replace(training, scores=Polarity.P_GOOD), OPTIONS
        )
    train_from_features(cache.folder, None, file, training, OPTIONS)

    assert not file.with_name("vhead.pt.state").exists()
    whole, resumed = (load_value_head(tmp_path / name) for name in ("whole.pt", "vhead.pt"))
    assert whole.card == resumed.card
    assert all(
        torch.equal(*pair) for pair in zip(whole.parameters(), resumed.parameters(), strict=True)
    )


def test_what_is_missing_is_named(cache: FeatureCache, tmp_path: Path) -> None:
    """A cache, a label, a response on one side of the split."""
    with pytest.raises(FeatureCacheError, match="nowhere"):
        train_from_features(tmp_path / "nowhere", None, tmp_path / "vhead.pt", TRAINING)
    with pytest.raises(FeatureCacheError, match="without a label"):
        train_from_features(cache.folder, {}, tmp_path / "vhead.pt", TRAINING)
    with pytest.raises(TrainingError, match="none of its 60 prompts falls into the validation"):
        train_from_features(
            cache.folder, None, tmp_path / "vhead.pt", replace(TRAINING, validation_share=1e-6)
        )


def test_an_id_that_is_no_line_is_found_before_training(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list beside the head would hold other ids."""
    cache.add([features("a\nb", label=1.0)])
    monkeypatch.setattr(module, "Trainer", None)

    with pytest.raises(DataError, match="not one line of text"):
        train_from_features(cache.folder, None, tmp_path / "vhead.pt", TRAINING, OPTIONS)


def test_a_head_never_lies_beside_an_older_list(
    cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two writes, calibration would pass on what the head was trained on."""
    file = tmp_path / "vhead.pt"
    write_training_prompts(file, ["of the head before"])
    listed = []

    def save(*_: Any, **__: Any) -> None:
        listed.append(read_training_prompts(training_prompts_file(file)))

    monkeypatch.setattr(module, "save_probe_checkpoint", save)
    train_from_features(cache.folder, None, file, TRAINING, replace(OPTIONS, epochs=1))

    assert listed[0] <= set(PROMPTS)


def test_without_a_validation_share_every_epoch_is_run(cache: FeatureCache, tmp_path: Path) -> None:
    """On all prompts that are not held out."""
    training = replace(TRAINING, validation_share=0.0)

    report = train_from_features(cache.folder, None, tmp_path / "vhead.pt", training, OPTIONS)

    assert (len(report.epochs), report.best.validation) == (6, None)


@pytest.mark.parametrize(
    "setting", [{"calibration_share": 1.0}, {"validation_share": -0.1}, {"batch_size": 0}]
)
def test_a_setting_out_of_range_is_named(setting: dict[str, Any]) -> None:
    """With its value and what it may be."""
    (name,) = setting

    with pytest.raises(SettingsError, match=f"{name} = .* must be"):
        replace(TRAINING, **setting)
