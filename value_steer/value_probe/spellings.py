"""The words in which people state what a head reads and what it scores.

Keys are lower case without dashes and underscores.
"""

from __future__ import annotations

import re

from value_steer.value_probe.card import Polarity


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


PARTS = _keys("name id path nameorpath index idx value type mode sha256 hash")
LABELS = _keys("labels labelnames classes classnames id2label label2id labelmap labelmapping")

FINAL = _keys(
    "final last -1 _1 final_layer last_layer last_hidden_state lm_head lm_head_input "
    "norm model.norm ln_f transformer.ln_f final_norm ln_final post_norm"
)
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

STATE_INDICES = _keys(
    "hiddenstateindex hiddenstateidx blockidx blockindex hookpoint hookname depth module "
    "modulename hook site activationsfrom"
)
POSITIONS = _keys(
    "pooling pool poolingtype poolingmode poolingstrategy poolingmethod aggregation "
    "position positions tokenposition tokenpositions tokenpos tokenidx tokenindex "
    "reduce reduction agg where seqpooling"
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
WIDTHS = _keys(
    "hiddensize dmodel nembd inputdim inputsize infeatures embeddingdim embeddim dim nfeatures "
    "nfeaturesin numfeatures"
)
ACTIVATION_KEYS = _keys(
    "activation activations activationfunction activationfn nonlinearity hiddenact"
)
OUTPUT_KEYS = _keys("outputactivation finalactivation")

POSITIVES = _keys("positive targetclass predict measures positives")
INVERSIONS = _keys("invert inverted inverse flip flipped negate negated sign reversed reverse")
UPRIGHT = _keys("+ +1 1 positive plus")
SCALINGS = _keys(
    "temperature temp t platt scaling scalefactor multiplier logitscale scale gain std var sigma"
)
SHIFTS = _keys("bias logitbias offset shift mean mu intercept")
SHIFT = re.compile(r"bias|offset|shift|mean|\bmu\b|intercept")
NEGATIVES = _keys("negative negativeclass negativelabel neglabel negclass")
ONES = _keys("1 label1 class1 one labelone")
ZEROS = _keys("0 label0 class0 zero labelzero")
FEATURES = _keys("features width")

WITH_PARTS = (
    _keys("model backbone basemodel llm layer polarity chattemplate template")
    | STATE_INDICES
    | POSITIONS
    | TRANSFORMS
    | INVERSIONS
    | SCALINGS
    | SHIFTS
)
"""Objects whose parts state what their own key does."""
ASIDE = _keys(
    "loss lossfn lossfunction criterion metric metrics eval evaluation validation val test results "
    "result auroc accuracy stats statistics sampling samplingparams samplingparameters generation "
    "generationconfig generationkwargs generate decoding judge dataset datasets data settings lora "
    "quantization environment versions history augmentation"
)
"""Objects that tell of something else than what the head reads and gives."""
ELSEWHERE_TOO = (
    POSITIVES
    | INVERSIONS
    | SCALINGS
    | SHIFTS
    | ONES
    | ZEROS
    | FEATURES
    | _keys("depth module modulename site reduce reduction agg where dim")
)
"""Keys that mean something else below these."""
HARMLESS = _keys(
    "promptposition author authors name title version description notes note comment comments "
    "license citation url homepage repo repository commit dataset datasets datasetname data "
    "traindata trainset corpus split tags tag language languages createdat date maker by method "
    "guarantee loss lossname weighting optimizer scheduler seed dtype device task file path "
    "filename convertedfrom sourcefile monitor "
    "nlayers nlayer numlayer numlayers numhiddenlayers layercount layersizes layerdims headlayers"
)
"""Keys whose values are prose, names or counts."""

_COUNTS = "num|n|count|counts|total|max|min|size|sizes|dims|dropout|rate|lr|prob|loss|weight|decay"
NOT_STATED = re.compile(rf"\b(?:{_COUNTS}|metric|acc|auroc|auc|f1|precision|recall|samples?)\b")
NEAR_LAYER = re.compile(
    r"(?<!p)(?<!multi)(?<!multi )layer|\b(?:depth|modules?|hook\w*|sites?|blocks?|resid\w*|tap|"
    r"activations? from|"
    r"(?:reads?|taken|captured|extracted) from|hidden states? (?:from|at))\b"
)
NOT_LAYER = re.compile(
    r"\b(?:num|n|counts?|sizes?|dims|dropout|head layers|eps|epsilon|max depth|python|versions?)\b"
)
NEAR_POSITION = re.compile(
    r"pool|aggregat|\b(?:agg|reduc\w*|positions?|pos|which tokens?|where|"
    r"tokens? (?:selection|strategy|choice|used|rule))\b"
)
NOT_POSITION = re.compile(
    rf"\b(?:{_COUNTS}|embeddings?|plateau|class|label|event|prompt position)\b"
)
NEAR_TRANSFORM = re.compile(
    r"normali[sz]|standardi[sz]|whiten|scaler|^(?:mean )?cent(?:er|re)(?:e?d)?$|^z ?score|"
    r"\b(?:pca|(?:feature|activation|hidden|input|state)s? "
    r"(?:mean|std|scale|shift|offset|norm))\b"
)
NEAR_INVERSION = re.compile(
    r"\binver[ts]|\bflip|\bnegate|\brevers|\b(?:one|1) minus\b|^complement|^multiply|"
    r"\b(?:score|logit|output) sign\b"
)
NEAR_POLARITY = re.compile(
    r"polarity|\b(?:(?:target|positive) (?:class|label)|(?:one|1|high\w*) (?:is|means)|"
    r"(?:score|output|logit|head) (?:means|meaning|measures|predicts?))\b"
)
NEAR_POSITIVE = re.compile(r"\b(?:positive|predicts?|measures?|pos (?:class|label|event))\b")
NEAR_NEGATIVE = re.compile(r"\b(?:negative|neg|zero|0) (?:class|label|event|is|means)\b")
NEAR_EVENT = re.compile(r"\b(?:event|class|label|target|outcome|means)\b")
NOT_EVENT = re.compile(
    r"\b(?:neg|negative|zero|0|source|names?|sets?|columns?|fields?|files?|datasets?|judge|model)\b"
)
NEAR_SCALING = re.compile(
    r"temperature|\b(?:logit|score|output) (?:scale|bias|shift|offset|mean|std)\b"
)
NOT_SCALING = re.compile(r"\b(?:sampl\w*|gen\w*|decod\w*|judge|teacher|softmax)\b")
NEAR_WIDTH = re.compile(
    r"\b(?:(?:input|in|feature|embed\w*|state) (?:dims?|size|width)|"
    r"(?:n|num|in) features|d in)\b"
)
NOT_WIDTH = re.compile(r"\b(?:out|output|patch|batch)\b")

PLACE_IN_MODEL = re.compile(
    r"(?:\w+\.)*(?:layers?|blocks?|h|encoder)[._]\d+(?:[.\w]*)|layer[\s_-]?\d+|hook_\w+|resid_\w+"
)
POOLED = re.compile(
    r"(?:mean|max|avg|average)[\s_-]?pool(?:ing|ed)?|mean|cls|bos|first[\s_-]token|"
    r"last[\s_-]prompt(?:[\s_-]token)?|mean[\s_-](?:over|of)[\s_-]tokens"
)
MEANS = re.compile(
    r"p_good|p_undesirable|p\s*\(.*\)|(?:high|higher|1)\s*(?:score)?\s*(?:is|means|=)\s*\w+"
)
"""Values that state the same under whatever key."""
