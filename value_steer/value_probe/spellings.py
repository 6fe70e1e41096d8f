"""The words in which people state what a head reads and what it scores.

Keys are lower case without dashes and underscores.
"""

from __future__ import annotations

import re

from value_steer.value_probe.card import Polarity


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYER = re.compile(r"(?<!p)(?<!multi)layer")
COUNTS_OF_LAYERS = _keys(
    "numlayers nlayers nlayer numlayer numhiddenlayers layercount layersizes layerdims headlayers"
)
WITH_PARTS = _keys("model backbone basemodel llm layer pooling polarity chattemplate template")
PARTS = _keys("name id path nameorpath index idx value type mode sha256 hash")
LABELS = _keys("labels labelnames classes classnames id2label label2id labelmap labelmapping")

FINAL = _keys("final last -1 _1 final_layer last_layer last_hidden_state lm_head lm_head_input")
NOTHING = _keys("none no false off identity")
POST_NORM = _keys("post post_norm final final_norm after after_norm postnorm")
EACH_TOKEN = (
    NOTHING
    | POST_NORM
    | _keys(
        "token per_token last last_token all all_tokens every each response response_tokens -1 _1"
    )
)
ELSEWHERE = _keys(
    "first mean max min sum average avg bos cls prompt last_prompt prompt_last middle"
)
"""Positions and poolings that are none of ours, as values of keys that may mean something else."""
OUTPUTS = _keys("sigmoid none identity linear logit logits")

OURS = frozenset(polarity.value for polarity in Polarity)
PROBABILITY = re.compile(
    r"(?:p|pr|prob|probability)(?:[\s_]+(?:of[\s_]+)?|\s*[(\[]\s*)"
    r"([a-z][a-z\s_-]*?)\s*(?:\|[^()]*)?[)\]]?"
)
GOOD = _keys(
    "good safe correct truthful helpful harmless benign acceptable factual success desirable"
)
UNDESIRABLE = _keys(
    "undesirable unsafe bad incorrect wrong harmful toxic unhelpful unacceptable failure "
    "hallucination hallucinated hallucinating error jailbreak malicious harm danger dangerous "
    "toxicity violation"
)
WORDS = dict.fromkeys(GOOD, Polarity.P_GOOD) | dict.fromkeys(UNDESIRABLE, Polarity.P_UNDESIRABLE)

STATE_INDICES = _keys("hiddenstateindex hiddenstateidx blockidx blockindex hookpoint hookname")
POSITIONS = _keys(
    "pooling pool poolingtype poolingmode poolingstrategy poolingmethod aggregation "
    "position positions tokenposition tokenpositions tokenpos tokenidx tokenindex"
)
TOKENS = _keys("token tokens readout readfrom")
NORMS = _keys("norm postnorm finalnorm afternorm normposition")
TRANSFORMS = _keys(
    "normalize normalise normalized normalised normalization normalisation standardize "
    "standardise whiten whitening scaler pca inputnorm featurenorm layernorm l2norm prenorm"
)
SCORES = _keys(
    "scores polarity scoremeaning scoretype scoredirection labelmeaning positiveclass "
    "positivelabel poslabel highmeans highermeans higheris predicts"
)
BETTER = _keys("higherisbetter highisgood higherisgood highisbetter")
WORSE = _keys("higherisworse highisbad higherisbad highisworse")
EVENTS = _keys("target label event output class score scoring direction orientation meaning")
HIGHER = re.compile(r"(?:high|higher|1)\s*(?:score)?\s*(?:is|means|=)\s*([a-z]+)")
"""As in "higher is worse"."""
COMPARED = {"better": "good", "worse": "bad"}
MODELS = _keys(
    "backbone basemodel model modelname modelid modelpath modelnameorpath basemodelname "
    "basemodelnameorpath hfmodel llm languagemodel pretrainedmodel targetmodel sourcemodel "
    "pretrainedmodelnameorpath"
)
TEMPLATES = _keys(
    "chattemplate template prompttemplate chattemplatesha256 templatesha256 templatehash "
    "chattemplatehash chatformat promptformat conversationtemplate convtemplate"
)
WIDTHS = _keys("hiddensize dmodel nembd inputdim inputsize infeatures embeddingdim embeddim")
ACTIVATION_KEYS = _keys(
    "activation activations activationfunction activationfn nonlinearity hiddenact"
)
OUTPUT_KEYS = _keys("outputactivation finalactivation")
