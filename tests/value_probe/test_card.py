"""What a card may say, and the operating points that are read off it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from value_steer.errors import CalibrationError, CheckpointError
from value_steer.value_probe import CalibrationCurve, FeatureSpec, HeadCard, Polarity, card_json

if TYPE_CHECKING:
    from value_steer.threshold import Threshold

Points = tuple[tuple[float, "Threshold"], ...]

RISING: Points = ((0.1, "never"), (0.2, 0.1), (0.6, 0.5))
FALLING: Points = ((0.1, "never"), (0.2, 0.9), (0.6, 0.5))
FULL = HeadCard(
    hidden_size=8,
    scores=Polarity.P_GOOD,
    feature=FeatureSpec(capture="decode"),
    threshold=0.5,
    curves=(CalibrationCurve("abstain_reward", RISING, n=40, guarantee="none"),),
    backbone="some/model",
    meta={"epochs": 3, "auroc": 0.9, "note": "x", "early_stop": True, "group": None},
)
CURVE = {"quantity": "alpha", "points": [[0.1, 0.5]], "n": 4}


@pytest.mark.parametrize(
    ("asked", "threshold"),
    [(0.1, "never"), (0.15, "never"), (0.2, 0.1), (0.3, 0.2), (0.5, 0.4), (0.6, 0.5)],
)
def test_a_reward_is_interpolated(asked: float, threshold: object) -> None:
    """Between ``never`` and a number it is still never."""
    assert CalibrationCurve("abstain_reward", RISING, n=9).resolve(asked) == pytest.approx(
        threshold
    )


@pytest.mark.parametrize("quantity", ["target_rate", "alpha"])
@pytest.mark.parametrize(
    ("asked", "threshold"),
    [(0.1, "never"), (0.19, "never"), (0.2, 0.1), (0.59, 0.1), (0.6, 0.5), (1.0, 0.5)],
)
def test_a_rate_never_exceeds_what_is_asked(quantity: str, asked: float, threshold: object) -> None:
    """The tabulated point below is taken, so that its guarantee covers what is asked."""
    curve = CalibrationCurve(quantity, RISING, n=9)  # type: ignore[arg-type]

    assert curve.resolve(asked) == threshold


@pytest.mark.parametrize(
    ("quantity", "asked"), [("abstain_reward", 0.05), ("abstain_reward", 0.7), ("alpha", 0.05)]
)
def test_outside_of_the_calibration_nothing_is_guessed(quantity: str, asked: float) -> None:
    """The error names the range."""
    curve = CalibrationCurve(quantity, RISING, n=9)  # type: ignore[arg-type]

    with pytest.raises(CalibrationError, match=rf"{quantity} = {asked}.*\(0.1 to 0.6\)"):
        curve.resolve(asked)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ((), "at least one point"),
        (((0.2, 0.1), (0.1, 0.2)), "ascending order"),
        (((0.2, 0.1), (0.2, 0.2)), "ascending order"),
        (((0.1, 0.1), (0.2, 0.3), (0.3, 0.2)), "all rise or all fall"),
        (((0.1, 0.1), (0.2, "never")), "all rise or all fall"),
    ],
)
def test_a_curve_without_order_is_refused(points: Points, reason: str) -> None:
    """Operating points must ascend, and asking for more must never act less."""
    with pytest.raises(CalibrationError, match=reason):
        CalibrationCurve("alpha", points, n=9)


@pytest.mark.parametrize(
    ("points", "right", "wrong"),
    [
        (RISING, Polarity.P_GOOD, Polarity.P_UNDESIRABLE),
        (FALLING, Polarity.P_UNDESIRABLE, Polarity.P_GOOD),
    ],
)
def test_a_curve_must_suit_the_polarity(points: Points, right: Polarity, wrong: Polarity) -> None:
    """A good score is acted on below its threshold, an undesirable one above."""
    curve = CalibrationCurve("target_rate", points, n=9)

    assert HeadCard(8, scores=right, curves=(curve,)).curve("target_rate") == curve
    assert HeadCard(8, curves=(curve,)).curve("alpha") is None
    with pytest.raises(CalibrationError, match=f"if the head scores {wrong.value}"):
        HeadCard(8, scores=wrong, curves=(curve,))


def test_two_curves_of_one_quantity_are_refused() -> None:
    """Which of them counts would be a guess."""
    curve = CalibrationCurve("alpha", RISING, n=9)

    with pytest.raises(CalibrationError, match="one for each quantity"):
        HeadCard(8, curves=(curve, curve))


@pytest.mark.parametrize("card", [FULL, HeadCard(hidden_size=1)])
def test_a_card_comes_back_from_json_as_it_was(card: HeadCard) -> None:
    """Every field survives, with its type."""
    assert card_json.loads(card_json.dumps(card), "x") == card


def test_a_sidecar_by_hand_needs_the_hidden_size_only() -> None:
    """What is left out takes its default."""
    assert card_json.loads('{"hidden_size": 8}', "x") == HeadCard(hidden_size=8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hiden_size": 8}, "hiden_size: unknown key; did you mean hidden_size?"),
        ({"format": 2}, "format = 2: must be 1"),
        ({"format": True}, "format = True: must be 1"),
        ({"hidden_size": 0}, "hidden_size = 0: must be an integer >= 1"),
        ({"hidden_size": "8"}, "hidden_size = '8'"),
        ({"scores": "good"}, 'scores = \'good\': must be "p_good" or "p_undesirable", or null'),
        ({"scores": ["p_good"]}, "scores = ['p_good']"),
        ({"threshold": 1.5}, "threshold = 1.5: must be a number from 0 to 1"),
        ({"feature": []}, "feature = []: must be an object"),
        ({"feature": {"layer": "16"}}, "feature.layer = '16': must be \"final\""),
        ({"feature": {"dtype": "x"}}, "feature.dtype: unknown key"),
        ({"curves": 5}, "curves = 5: must be a list"),
        ({"curves": [7]}, "curves[0] = 7: must be an object"),
        ({"curves": [CURVE, {**CURVE, "n": 0}]}, "curves[1].n = 0"),
        ({"curves": [{"n": 3}]}, "curves[0].quantity: missing"),
        ({"curves": [{**CURVE, "points": [[2, 0.5]]}]}, "curves[0].points = [[2, 0.5]]"),
        ({"curves": [{**CURVE, "points": []}]}, "at least one point"),
        ({"curves": [CURVE, CURVE]}, "one for each quantity"),
        ({"backbone": 3}, "backbone = 3: must be text, or null"),
        ({"meta": {"a": [1]}}, "meta = {'a': [1]}: must be an object of texts"),
        ({"meta": {"a": float("nan")}}, "NaN is not JSON"),
    ],
)
def test_a_wrong_entry_is_named_with_its_file(changes: dict[str, object], said: str) -> None:
    """Strict reading: nothing unknown is skipped, nothing wrong is mended."""
    text = json.dumps({"hidden_size": 8, **changes})

    with pytest.raises(CheckpointError) as caught:
        card_json.loads(text, "v.pt.meta.json")

    assert str(caught.value).startswith("v.pt.meta.json: ")
    assert said in str(caught.value)


def test_a_number_beyond_floats_is_refused() -> None:
    """JSON can write what a float cannot hold, and it would come back as infinity."""
    with pytest.raises(CheckpointError, match="finite numbers"):
        card_json.loads('{"hidden_size": 8, "meta": {"a": 1e999}}', "x")


def test_all_wrong_entries_are_listed_at_once() -> None:
    """A sidecar is corrected in one round."""
    with pytest.raises(CheckpointError, match=r"(?s)scores.*extra.*hidden_size: missing"):
        card_json.loads('{"scores": 1, "extra": 2}', "x")


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[" * 100_000, b"\xff\xfe\xfa", "NULL"])
def test_what_is_not_json_is_one_clear_error(text: str | bytes) -> None:
    """Neither decoding nor nesting leaks another exception."""
    with pytest.raises(CheckpointError, match="side: not valid JSON"):
        card_json.loads(text, "side")


@pytest.mark.parametrize("meta", [{"a": float("inf")}, {"a": [1]}, {"a": object()}, {"a": {1, 2}}])
def test_a_card_that_could_not_be_read_back_is_not_written(meta: dict[str, object]) -> None:
    """Writing is held to what reading accepts."""
    with pytest.raises(CheckpointError, match="the card"):
        card_json.dumps(HeadCard(8, meta=meta))  # type: ignore[arg-type]


ENTRIES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    ENTRIES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["hidden_size", "scores", "feature", "threshold", "curves", "meta", "format"]
)


@settings(deadline=None)
@given(st.dictionaries(KEYS, JSON | st.just([CURVE]) | st.integers(1, 9)))
def test_any_json_gives_a_card_or_a_checkpoint_error(body: dict[str, object]) -> None:
    """What is accepted can be written and read back."""
    try:
        card = card_json.loads(json.dumps(body), "x")
    except CheckpointError:
        return
    assert card_json.loads(card_json.dumps(card), "x") == card


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6), st.floats(0, 1)
)
def test_asking_for_more_never_acts_less(pairs: list[tuple[float, float]], asked: float) -> None:
    """The resolved threshold lies between those of the neighbouring points."""
    xs = sorted({x for x, _ in pairs})
    ys = sorted(y for _, y in pairs)[: len(xs)]
    curve = CalibrationCurve("abstain_reward", tuple(zip(xs, ys, strict=True)), n=9)
    if not xs[0] <= asked <= xs[-1]:
        return
    below = max(y for x, y in curve.points if x <= asked)
    above = min(y for x, y in curve.points if x >= asked)

    assert float(below) - 1e-9 <= float(curve.resolve(asked)) <= float(above) + 1e-9
