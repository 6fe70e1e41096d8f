"""An answer under load is told from the one given alone wherever they differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.soak.client import Answer
from benchmarks.soak.comparison import difference, unjudged

_GOOD, _BAD, _EOS = 5, 10, 1
_TOLD: dict[str, Any] = {
    "outcome": "steered",
    "stopped_at": None,
    "value": 0.9,
    "threshold": 0.5,
    "vfd_threshold": 0.5,
    "no_acceptable": 0,
    "unscored": 0,
    "values": [0.9, 0.91, 0.9],
    "undesirable": [0.1, 0.09, 0.1],
}
_ALONE = Answer(tokens=[_GOOD, _GOOD + 1, _GOOD], finish="length", told=_TOLD)


def _told(**changes: object) -> Answer:
    return replace(_ALONE, told={**_TOLD, **changes})


def test_the_same_answer_does_not_differ() -> None:
    """Nor does one whose values differ in their last digits."""
    assert difference(_ALONE, replace(_ALONE, gaps=[0.1], started=3.0)) is None
    assert difference(_ALONE, _told(value=0.9 + 1e-5, values=[0.9, 0.91001, 0.9])) is None


@pytest.mark.parametrize(
    ("got", "what"),
    [
        (replace(_ALONE, tokens=[_GOOD, _GOOD, _GOOD]), "tokens"),
        (replace(_ALONE, finish="stop"), "finish"),
        (replace(_ALONE, stop="value_steer:abstained"), "stop"),
        (replace(_ALONE, status=500, error="x"), "status"),
        (replace(_ALONE, told=None), "outcome"),
        (_told(outcome="abstained"), "outcome"),
        (_told(value=0.8), "value"),
        (_told(value=None), "value"),
        (_told(values=[0.9, 0.91]), "values"),
        (_told(undesirable=[0.1, 0.2, 0.1]), "undesirable"),
    ],
)
def test_a_difference_is_named(got: Answer, what: str) -> None:
    """Whichever part of the answer it is in."""
    assert str(difference(_ALONE, got)).startswith(what)


def test_who_hangs_up_has_the_first_tokens() -> None:
    """Of the answer given alone."""
    gone = replace(_ALONE, finish=None, told=None)

    assert difference(_ALONE, replace(gone, tokens=[])) is None
    assert difference(_ALONE, replace(gone, tokens=_ALONE.tokens[:2])) is None
    assert difference(Answer(status=400, error="x"), replace(gone, tokens=[])) is None
    assert difference(Answer(status=400, error="x"), gone) is not None
    assert difference(_ALONE, replace(gone, tokens=[_GOOD, _GOOD])) is not None
    assert difference(_ALONE, replace(gone, tokens=[*_ALONE.tokens, _GOOD])) is not None


def test_an_answer_that_ended_at_a_word_has_the_same_tokens() -> None:
    """How many more the engine judged before it was told is chance."""
    alone = replace(_ALONE, finish="stop", stop="w23")
    further = {**_TOLD, "values": [*_TOLD["values"], 0.9]}

    assert difference(alone, replace(alone, told=further)) is None
    assert difference(alone, replace(alone, tokens=[_GOOD])) is not None


@pytest.mark.parametrize(
    "answer",
    [
        _ALONE,
        replace(_ALONE, told=None),
        _told(values=[], undesirable=[], threshold=None, vfd_threshold=None),
        _told(vfd_threshold=None, undesirable=[], values=[0.9, 0.9]),
        replace(
            _told(vfd_threshold=None, undesirable=[], values=[0.9, 0.1], outcome="abstained"),
            tokens=[_GOOD, _BAD, _EOS],
            stop="value_steer:abstained",
        ),
        replace(_told(no_acceptable=1, undesirable=[0.1, 0.9, 0.1]), tokens=[_GOOD, _BAD, _GOOD]),
    ],
)
def test_an_answer_all_of_whose_tokens_were_judged_passes(answer: Answer) -> None:
    """By whichever mode acted on it."""
    assert unjudged(answer) is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (_told(unscored=1), "unjudged"),
        (_told(undesirable=[0.1, 0.1]), "3 tokens and 2 values"),
        (_told(undesirable=[0.1] * 4), "3 tokens and 4 values"),
        (_told(vfd_threshold=None, values=[0.9]), "2 tokens and 1 values"),
        (_told(undesirable=[0.1, 0.9, 0.1]), "1 tokens were refused"),
        (replace(_ALONE, tokens=[_GOOD, _BAD, _GOOD]), "judged as another"),
    ],
)
def test_a_token_that_was_not_judged_is_found(answer: Answer, why: str) -> None:
    """Also one that went out under the value of another."""
    assert why in str(unjudged(answer))
