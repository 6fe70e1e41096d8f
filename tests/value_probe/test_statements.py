"""What a sidecar states of layer, pooling, polarity, width, model and template, in any spelling."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.head_files import HIDDEN, weights_of, write
from value_steer.errors import CheckpointError
from value_steer.value_probe import (
    Architecture,
    HeadCard,
    Polarity,
    ValueHead,
    card_json,
    load_value_head,
    published,
    save_value_head,
    spellings,
)
from value_steer.value_probe.checkpoint import sidecar

if TYPE_CHECKING:
    from pathlib import Path

GOOD, UNDESIRABLE = Polarity.P_GOOD, Polarity.P_UNDESIRABLE


def card_of(
    tmp_path: Path, body: object, kind: Architecture = Architecture.THREE_LAYER
) -> HeadCard:
    """What is read of a sidecar beside a head."""
    path = write(tmp_path / "v.pt", weights_of(ValueHead(HIDDEN, kind)))
    sidecar(path).write_text(json.dumps(body), encoding="utf-8")
    return load_value_head(path).card


@pytest.mark.parametrize(
    "body",
    [
        {"layer": 16},
        {"layer": "16"},
        {"layer": None},
        {"layer": 0},
        {"layer": [16, -1]},
        {"Layer-Idx": 12},
        {"layer_idx": 12},
        {"feature_spec": {"layer_idx": 12}},
        {"feature": {"layer": 16}},
        {"meta": {"probe": {"target_layer": 3}}},
        {"probes": [{"layer": 3}]},
        {"layers": [3, 4]},
        {"layer": {"index": 3}},
        {"hook_point": "blocks.16.hook_resid_post"},
        {"pooling": "mean"},
        {"pooling_mode": "max"},
        {"pooling": {"type": "mean"}},
        {"aggregation": "mean"},
        {"token_position": "first"},
        {"position": 0},
        {"norm": "pre"},
        {"post_norm": False},
        {"normalize": True},
        {"scaler": "StandardScaler"},
        {"activation": "gelu"},
        {"activation": "relu"},
        {"output_activation": "softmax"},
        {"hidden_size": "4"},
        {"input_dim": 5},
        {"d_model": 4, "n_embd": 8},
        {"scores": "risk of x"},
        {"scores": "1 - p(safe)"},
        {"polarity": 1},
        {"polarity": "not safe"},
        {"positive_class": 1},
        {"label": "not safe"},
        {"labels": ["safe", "unsafe", "unclear"]},
        {"scores": "safe", "positive_class": "unsafe"},
        {"scores": "p_good", "higher_is_better": False},
        {"model": ["a"]},
        {"model": "org/a", "base_model": "org/b"},
        {"chat_template": 3},
        {"chat_template": "none", "prompt_template": "chatml"},
        {"token": "first"},
        {"readout": "mean"},
        {"score": "P(sarcasm)"},
        {"direction": "higher is louder"},
        {"meaning": "high means odd"},
        {"score": "P(safe)", "label": "unsafe"},
        {"settings": {"target_layer": 3}},
        {"target_layer": {"index": 3}},
        {"agg": {"type": "mean"}},
        {"transformer_block": 3},
        {"tap": "mlp.3"},
        {"token_selection": "first"},
        {"sign_flip": 1},
        {"one_minus": True},
        {"logit_shift": 1},
        {"temp": 2.0},
        {"centered": True},
        {"standard_scaler": "x"},
        {"d_in": 5},
        {"width": 5},
        {"negative_class": "safe", "scores": "safe"},
        {"temperature": {"value": 2.0}},
        {"depth": 12},
        {"module": "model.layers.12.mlp"},
        {"module_name": "blocks.3"},
        {"hook": {"name": "resid_post"}},
        {"hook_fn": "x"},
        {"site": "mlp_out"},
        {"activations_from": "mid"},
        {"residual_stream": 7},
        {"readsFrom": 7},
        {"source_of_state": "model.layers.12"},
        {"note2": "layer_12"},
        {"reduce": "mean"},
        {"reduction": "mean"},
        {"agg": "max"},
        {"where": "first"},
        {"seq_pooling": "mean"},
        {"seqAggregation": "sum"},
        {"pooled": True},
        {"how": "mean"},
        {"readout_rule": "mean-pooling"},
        {"positive": "risk of x"},
        {"positive": 0},
        {"target_class": 0},
        {"predict": "sarcasm"},
        {"measures": "sarcasm"},
        {"label_1": "not safe"},
        {"1": "safe", "0": "safe"},
        {"what": "P(sarcasm)"},
        {"invert": True},
        {"inverted": 1.5},
        {"flip": "yes"},
        {"flip_scores": True},
        {"negate": True},
        {"sign": -1},
        {"sign": "-"},
        {"dim": 5},
        {"n_features": 5},
        {"feature_dim": 5},
        {"temperature": 2.5},
        {"temperature": [1.0, 2.0]},
        {"probe": {"temperature": 0.5}},
        {"logit_scale": 3},
        {"logit_bias": 0.5},
        {"bias": 0.7},
        {"mean": [0.1, 0.2, 0.3, 0.4]},
        {"feature_mean": 0.2},
        {"threshold": 1.5},
        {"threshold": "0.3"},
        {"threshold": -0.2},
    ],
    ids=json.dumps,
)
def test_what_cannot_be_served_or_understood_is_refused(
    tmp_path: Path, body: dict[str, object]
) -> None:
    """In one line that names the file."""
    with pytest.raises(CheckpointError, match=r"v\.pt") as caught:
        card_of(tmp_path, {"maker": "x", **body})

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        {"layer": -1},
        {"layer": [-1]},
        {"layer_idx": "last"},
        {"feature_spec": {"layer": "Final"}},
        {"num_layers": 3, "num_hidden_layers": 32, "multilayer": True, "player": 1},
        {"pooling": None},
        {"pooling": "last-token"},
        {"pooling": {"type": "none"}},
        {"token_position": -1},
        {"norm": "post_norm", "normalize": False, "scaler": None},
        {"activation": ["tanh", "relu"], "output_activation": "sigmoid"},
        {"hidden_size": 4, "input_dim": 4},
        {"label": "binary", "target": 0.9, "event": None, "labels": [0, 1]},
        {"loss": {"reduction": "mean"}, "tokens": 120_000, "score": 0.93},
        {"token": "</s>", "score": "brier", "direction": "forward"},
        {"author": "A. Mean", "created_at": "2026-01-02", "license": "mit", "name": "layer-probe"},
        {"description": "mean of layer 12 and higher is worse", "datasets": ["toxic", "mean"]},
        {"dataset": "p(unsafe)", "website": "https://x.org/layers.1", "site": "https://x.org"},
        {"depth": -1, "module": "lm_head", "hook": "final_norm", "activations_from": "final"},
        {"reduce": "none", "agg": "last", "where": "all_tokens", "seq_pooling": None},
        {"invert": False, "flip": None, "negate": "no", "sign": 1, "reversed": "none"},
        {"dim": 4, "n_features": 4, "features": "hidden states"},
        {"temperature": 1.0, "logit_scale": 1, "bias": True, "mean": 0, "offset": 0.0},
        {"sampling": {"temperature": 0.7}, "metrics": {"auroc": {"mean": 0.9, "std": 0.1}}},
        {"sampling_temperature": 0.7, "n_positive": 120, "positive": 300, "loss_mean": 0.3},
        {"max_position_embeddings": 4096, "n_blocks": 4, "max_depth": 3, "pos_weight": 2.0},
        {"label_source": "harm", "summary_file": "mean.txt", "n_layers_total": 32},
        {"reduce_lr_on_plateau": True, "true_positives": 3, "layer_norm_eps": 1e-5},
        {"optimizer": {"foreach": None, "maximize": False}, "prompt_position": True},
    ],
    ids=json.dumps,
)
def test_what_is_as_it_has_to_be_loads(tmp_path: Path, body: dict[str, object]) -> None:
    """Also what only looks like a statement."""
    assert card_of(tmp_path, {"maker": "x", **body}).scores is None


@pytest.mark.parametrize(
    ("body", "scores"),
    [
        ({"scores": "unsafe"}, UNDESIRABLE),
        ({"scores": "Safe"}, GOOD),
        ({"polarity": "P(unsafe)"}, UNDESIRABLE),
        ({"polarity": "P(safe | prompt, response)"}, GOOD),
        ({"polarity": "probability of hallucination"}, UNDESIRABLE),
        ({"polarity": {"value": "p_correct"}}, GOOD),
        ({"positive_class": "toxic"}, UNDESIRABLE),
        ({"score": "P(harm)"}, UNDESIRABLE),
        ({"scoring": "probability of violation"}, UNDESIRABLE),
        ({"direction": "higher is worse"}, UNDESIRABLE),
        ({"direction": "high = safe"}, GOOD),
        ({"target": "1 means hallucination"}, UNDESIRABLE),
        ({"label": "harmful"}, UNDESIRABLE),
        ({"classes": ["unsafe", "safe"]}, GOOD),
        ({"id2label": {"0": "safe", "1": "unsafe"}}, UNDESIRABLE),
        ({"label2id": {"incorrect": 0, "correct": 1}}, GOOD),
        ({"positive": "unsafe"}, UNDESIRABLE),
        ({"target_class": "safe"}, GOOD),
        ({"predict": "P(harm)"}, UNDESIRABLE),
        ({"measures": "harm"}, UNDESIRABLE),
        ({"label_1": "unsafe"}, UNDESIRABLE),
        ({"1": "unsafe"}, UNDESIRABLE),
        ({"0": "unsafe", "1": "safe"}, GOOD),
        ({"0": "safe"}, UNDESIRABLE),
        ({"score_means": "unsafe"}, UNDESIRABLE),
        ({"legend": "higher is worse"}, UNDESIRABLE),
        ({"what": "p_good"}, GOOD),
        ({"pos_class": "unsafe"}, UNDESIRABLE),
        ({"event_of_interest": "unsafe"}, UNDESIRABLE),
        ({"negative_class": "unsafe"}, GOOD),
        ({"higher_is_better": True}, GOOD),
        ({"higher_is_worse": True, "scores": "p_undesirable"}, UNDESIRABLE),
        ({"scores": None}, None),
    ],
)
def test_a_polarity_is_understood(
    tmp_path: Path, body: dict[str, object], scores: Polarity | None
) -> None:
    """In the words that people use."""
    assert card_of(tmp_path, {"maker": "x", **body}).scores is scores


def test_our_own_words_are_named_where_another_is_found(tmp_path: Path) -> None:
    """In a sidecar that has none but our keys too."""
    for more in ({}, {"maker": "x"}):
        with pytest.raises(CheckpointError, match='"p_good" or "p_undesirable"'):
            card_of(tmp_path, {"hidden_size": 4, "scores": "risk", **more})


def test_model_and_template_are_understood(tmp_path: Path) -> None:
    """A path and a name of one model agree; a template's text becomes its hash."""
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    curve = {"alphas": [0.1], "thresholds": [0.5], "n": 9}
    body = {
        "model": {"name": "org/m"},
        "model_path": "/data/M/",
        "chat_template": template,
        **curve,
    }

    card = card_of(tmp_path, body)

    assert card.backbone in {"org/m", "/data/M/"}
    assert card.curves[0].settings is not None
    assert card.curves[0].settings.chat_template == hashlib.sha256(template.encode()).hexdigest()


def test_the_final_layer_may_be_called_minus_one(tmp_path: Path) -> None:
    """In our own form as well."""
    body = {"format": 1, "hidden_size": 4, "feature": {"layer": -1}}

    assert card_of(tmp_path, body).feature.layer == "final"


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"layer": 16}, "layer = 16"),
        ({"feature_spec.layer": 16}, "layer = 16"),
        ({"scores": "unsafe"}, "scores p_good"),
        ({"hidden_size": 5}, "the hidden size is 4"),
        ({"activation": "gelu"}, "relu and tanh follow"),
    ],
)
def test_meta_of_our_own_card_contradicts_nothing(
    tmp_path: Path, meta: dict[str, Any], said: str
) -> None:
    """It is neither loaded nor saved."""
    body = {"format": 1, "hidden_size": 4, "scores": "p_good", "meta": meta}

    with pytest.raises(CheckpointError, match=said):
        card_of(tmp_path, body)
    with pytest.raises(CheckpointError, match=said):
        save_value_head(tmp_path / "w.pt", ValueHead(4), HeadCard(4, scores=GOOD, meta=meta))


def test_two_layers_are_followed_by_tanh_only(tmp_path: Path) -> None:
    """The activations that are stated must be those of the layers that are there."""
    two = Architecture.TWO_LAYER
    assert card_of(tmp_path, {"activation": "tanh", "maker": "x"}, two).scores is None
    with pytest.raises(CheckpointError, match="tanh follow the layers"):
        card_of(tmp_path, {"activation": "relu", "maker": "x"}, two)


KEYS = sorted(
    {
        *(f"{a}{b}" for a in ("", "meta.") for b in spellings.LABELS | spellings.POSITIONS),
        *(spellings.SCORES | spellings.EVENTS | spellings.MODELS | spellings.TEMPLATES),
        *(
            *("layer", "layer_idx", "model_depth", "hookFn", "flip_it", "x", "1", "0", "loss"),
            *("sampling", "feature_mean", "score_sign", "read_from", "seq_pool", "label_1"),
            *(spellings.POSITIVES | spellings.INVERSIONS | spellings.SCALINGS | spellings.SHIFTS),
            "feature_spec",
            "threshold",
            "meta",
            "name",
            "hidden_size",
            "curve",
        ),
    }
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["safe", "unsafe", "P(unsafe)", "final", "mean", "last", "p_good", ""])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_what_was_understood_once_is_understood_again(tmp_path: Path) -> None:
    """A head that is loaded and saved in our own form keeps all its statements, as text."""
    body = {"classes": ["unsafe", "safe"], "layer": [-1], "activation": ["tanh", "relu"]}
    path = write(tmp_path / "v.pt", weights_of(ValueHead(HIDDEN)))
    sidecar(path).write_text(json.dumps(body), encoding="utf-8")
    head = load_value_head(path)

    save_value_head(tmp_path / "w.pt", head, head.card)

    assert load_value_head(tmp_path / "w.pt").card == head.card


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4))
def test_any_sidecar_is_understood_or_refused(body: dict[str, Any]) -> None:
    """What is understood can be saved as ours and says the same."""
    try:
        card = published.read_card(json.dumps(body), "x", HIDDEN)
    except CheckpointError:
        return
    if card is not None:
        again = card_json.loads(card_json.dumps(card), "x")
        published.refuse_contradictions(again, "x")
        assert again == card
