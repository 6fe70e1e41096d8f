"""A state is kept once, at its position, whatever the engine does to the request."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from value_steer.features.errors import CaptureError
from value_steer.features.recorder import Recorder

PROMPT = 3


def _see(recorder: Recorder, positions: dict[str, int], version: int = 0) -> None:
    """The state after the token at each position is that position, and so is the token."""
    ids = list(positions)[::-1]
    feature = torch.tensor([[float(positions[name]), float(version)] for name in ids])
    lengths = {name: position + 1 for name, position in positions.items()}
    recorder.note(lengths, positions.get, ids, feature)


def _see_prior(recorder: Recorder, lengths: dict[str, int], feature: torch.Tensor) -> None:
    """The state at the end of a prompt: there is no token of the response yet."""
    recorder.note(lengths, lambda _: None, list(lengths), feature)


def _started(*names: str) -> Recorder:
    recorder = Recorder()
    for name in names:
        recorder.admit(name, f"key {name}", PROMPT)
        _see_prior(recorder, {name: PROMPT}, torch.tensor([[-1.0, 0.0]]))
    return recorder


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 10))
def test_positions_computed_again_are_kept_once(rewinds: list[int], length: int) -> None:
    """After any number of preemptions each token has one state: the last one computed."""
    recorder = _started("a")
    latest: dict[int, int] = {}
    place = 0
    for version, rewind in enumerate([*rewinds, 0]):
        place = min(place, rewind)
        recorder.admit("a", "key a", PROMPT)
        for _ in range(rewind % 4 + 1):
            _see(recorder, {"a": PROMPT + place}, version)
            latest = {at: seen for at, seen in latest.items() if at < place} | {place: version}
            place += 1
    cut = min(length, place)

    (one,) = recorder.take(["key a"], [cut])

    assert one.tokens.tolist() == [PROMPT + i for i in range(cut)]
    assert one.hidden.tolist() == [[PROMPT + i, latest[i]] for i in range(cut)]
    assert one.prior.tolist() == [-1.0, 0.0]


def test_requests_join_and_leave_between_steps() -> None:
    """Rows in any order; requests without a key are passed over."""
    recorder = _started("a")
    _see(recorder, {"a": 3, "stranger": 9})
    recorder.admit("b", "key b", PROMPT)
    _see_prior(recorder, {"b": PROMPT}, torch.tensor([[8.0, 8.0]]))
    _see(recorder, {"a": 4, "b": 3})
    recorder.finish("a")
    _see(recorder, {"b": 4, "a": 5})

    b, a = recorder.take(["key b", "key a"], [2, 2])

    assert a.prior.tolist() == [-1.0, 0.0]
    assert b.prior.tolist() == [8.0, 8.0]
    assert (a.tokens.tolist(), b.tokens.tolist()) == ([3, 4], [3, 4])


def test_a_prior_is_the_state_at_the_end_of_the_whole_prompt() -> None:
    """That of a row which does not reach the end of its prompt is none."""
    recorder = Recorder()
    recorder.admit("a", "key a", PROMPT)
    _see_prior(recorder, {"a": PROMPT}, torch.tensor([[2.0]]))
    recorder.note({}, lambda _: None, ["a"], torch.tensor([[4.0]]))

    (one,) = recorder.take(["key a"], [0])

    assert one.prior.tolist() == [2.0]
    assert one.hidden.shape == (0, 1)


def test_a_sequence_run_anew_keeps_its_tokens() -> None:
    """After a preemption nobody says the token that it ends in: it was given out before."""
    recorder = _started("a")
    _see(recorder, {"a": PROMPT})
    _see(recorder, {"a": PROMPT + 1})
    recorder.note({"a": PROMPT + 2}, lambda _: None, ["a"], torch.tensor([[9.0, 9.0]]))

    (one,) = recorder.take(["key a"], [2])

    assert one.tokens.tolist() == [PROMPT, PROMPT + 1]
    assert one.hidden[1].tolist() == [9.0, 9.0]


def test_what_was_taken_or_aborted_is_forgotten() -> None:
    """And an id that comes again starts anew."""
    recorder = _started("a", "b")
    _see(recorder, {"a": 3, "b": 3})
    recorder.take(["key a"], [1])

    for key in ("key a", "key b"):
        with pytest.raises(CaptureError, match="was not captured"):
            recorder.take([key], [0])


def test_the_engine_may_reuse_its_buffer() -> None:
    """What is kept is a copy."""
    recorder = _started("a")
    feature = torch.ones(1, 2)
    recorder.note({"a": PROMPT + 1}, lambda _: 3, ["a"], feature)
    feature.zero_()

    assert recorder.take(["key a"], [1])[0].hidden.tolist() == [[1.0, 1.0]]


def test_gaps_and_shortfalls_are_errors() -> None:
    """A state that was missed, a token that nobody knows, and a response longer than was seen."""
    recorder = _started("a")
    with pytest.raises(CaptureError, match="token 2 came"):
        _see(recorder, {"a": PROMPT + 1})
    with pytest.raises(CaptureError, match="token 1 came"):
        recorder.note({"a": PROMPT + 1}, lambda _: None, ["a"], torch.ones(1, 2))
    _see(recorder, {"a": PROMPT})
    with pytest.raises(CaptureError, match="1 tokens captured, 2 expected"):
        recorder.take(["key a"], [2])
