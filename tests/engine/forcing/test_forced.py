"""Where a request stands in its script, step by step, as positions come and go."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.engine.live import live
from value_steer.config import AbstainAction
from value_steer.engine.forcing.forced import BEGINS, ENDS, FORCED, Forcing
from value_steer.engine.forcing.scripts import Reasoning, Scripts

OPENS, CLOSES, STOP = 2, 7, 1
SCRIPTS = Scripts(Reasoning(OPENS, CLOSES, (8, CLOSES)), (9,))
STOPS = torch.tensor([STOP], dtype=torch.int32)


class Row:
    """One request, whose positions are taken one after the other."""

    def __init__(self, action: AbstainAction, opened: int = -1, length: int = 5) -> None:
        self.forcing = Forcing(SCRIPTS, torch.device("cpu"))
        self.request = live(action=action, reasoning_marks=(opened, -1))
        self.at(length)

    def at(self, length: int) -> None:
        """The batch is laid out anew, with the sequence as long as this."""
        self.request.length = length
        self.forcing.lay_out([self.request], torch.tensor([0]))
        self.length = length

    def step(
        self, *, fires: bool = False, sampled: int = 4, again: bool = False
    ) -> tuple[int, int]:
        """One step; returns its token and what is decided."""
        positions = torch.tensor([self.length])
        step = self.forcing.step(positions, STOPS)
        self.length += 1
        fired = torch.tensor([fires]) & ~step.begun
        marks = int(self.forcing.settle(step, fired, step.running)[0])
        token = int(step.tokens[0]) if marks & FORCED else sampled
        self.forcing.follow(positions, torch.tensor([token]), [0] if again else [])
        return token, marks


def test_a_closed_section_goes_on_and_is_not_judged_again() -> None:
    """Its script once, then what the model samples."""
    row = Row(AbstainAction.END_THINKING, opened=0)

    assert [row.step(fires=True) for _ in range(4)] == [
        (8, FORCED | BEGINS),
        (CLOSES, FORCED),
        (4, 0),
        (4, 0),
    ]


def test_a_request_that_does_not_think_ends() -> None:
    """There is nothing to close."""
    assert Row(AbstainAction.END_THINKING).step(fires=True) == (STOP, FORCED | ENDS)


def test_a_message_ends_with_the_stop_token() -> None:
    """Which alone is what ends the request."""
    row = Row(AbstainAction.MESSAGE)

    assert [row.step(fires=True) for _ in range(2)] == [(9, FORCED | BEGINS), (STOP, FORCED | ENDS)]


@pytest.mark.parametrize("length", [5, 100_000])
@pytest.mark.parametrize("later", [0, 1, 9])
def test_a_section_that_the_response_opens_is_known(length: int, later: int) -> None:
    """So is one that it has closed itself, however long ago."""
    row = Row(AbstainAction.END_THINKING, length=length)
    row.step(sampled=OPENS)
    for _ in range(later):
        row.step()
    assert row.step(fires=True)[0] == 8

    row = Row(AbstainAction.END_THINKING, length=length)
    row.step(sampled=OPENS)
    row.step(sampled=CLOSES)
    for _ in range(later):
        row.step()
    assert row.step(fires=True)[0] == STOP


@pytest.mark.parametrize(
    ("opened", "sampled", "gives"), [(-1, OPENS, STOP), (0, CLOSES, 8), (3, CLOSES, 8)]
)
def test_a_token_whose_position_is_taken_again_says_nothing(
    opened: int, sampled: int, gives: int
) -> None:
    """Whether it opened a section or closed one: another token stands there then."""
    row = Row(AbstainAction.END_THINKING, opened)
    row.step(sampled=sampled)
    row.at(5)

    assert row.step(fires=True)[0] == gives


@pytest.mark.parametrize(("candidate", "gives"), [(CLOSES, STOP), (4, 8)])
def test_a_token_that_is_put_in_the_place_of_another_counts(candidate: int, gives: int) -> None:
    """As where value filtering refuses the one that was held."""
    row = Row(AbstainAction.END_THINKING, opened=3)
    row.step(sampled=OPENS)
    row.step(sampled=candidate, again=True)
    row.at(6)

    assert row.step(fires=True)[0] == gives


def test_a_token_that_is_taken_back_opens_nothing() -> None:
    """What counts is what stands at the position now, however many times it was taken."""
    row = Row(AbstainAction.END_THINKING)
    row.step(sampled=OPENS)
    row.step(sampled=4, again=True)
    row.at(6)
    assert row.step(fires=True)[0] == STOP

    row = Row(AbstainAction.END_THINKING)
    row.step(sampled=OPENS)
    row.step(sampled=OPENS)
    row.step(sampled=4, again=True)
    row.at(7)
    assert row.step(fires=True)[0] == 8, "the one before it still stands"


def test_a_position_that_is_taken_again_gives_out_the_same_token() -> None:
    """As after a preemption, whose steps in flight are dropped; the report says again it began."""
    row = Row(AbstainAction.MESSAGE)
    row.step(fires=True)
    row.step()
    row.at(5)

    again = [row.step(fires=True) for _ in range(2)]
    assert again == [(9, FORCED | BEGINS), (STOP, FORCED | ENDS)]


def test_a_script_is_forgotten_with_the_token_that_began_it() -> None:
    """Another token may be drawn there, to which the head does not object."""
    row = Row(AbstainAction.MESSAGE)
    row.step(fires=True)
    row.step()
    row.at(5)

    assert [row.step() for _ in range(2)] == [(4, 0), (4, 0)]
    assert row.step(fires=True) == (9, FORCED | BEGINS)


def test_a_partial_prefill_forgets_nothing() -> None:
    """It ends where the script began, and what follows is known."""
    row = Row(AbstainAction.MESSAGE)
    row.step(fires=True)
    row.request.complete = False
    row.at(5)
    row.step()
    row.request.complete = True
    row.at(6)

    assert row.step() == (STOP, FORCED | ENDS)


def test_a_grammar_gets_the_mark_alone() -> None:
    """A script of several tokens might get stuck in it."""
    row = Row(AbstainAction.END_THINKING, opened=0)
    row.request.constrained = True
    row.at(5)

    assert [row.step(fires=True) for _ in range(2)] == [(CLOSES, FORCED | BEGINS), (4, 0)]


def test_the_place_of_another_request_begins_anew() -> None:
    """What its predecessor said and thought is not its own."""
    row = Row(AbstainAction.MESSAGE, opened=0)
    row.step(fires=True)
    row.request = live(action=AbstainAction.END_THINKING)
    row.at(5)

    assert row.step() == (4, 0)
    assert row.step(fires=True) == (STOP, FORCED | ENDS)


def test_each_request_of_a_batch_stands_where_it_is() -> None:
    """One begins to think, one never does, one has said what it had to say."""
    forcing = Forcing(SCRIPTS, torch.device("cpu"))
    requests = [
        live(action=AbstainAction.END_THINKING, slot=slot, reasoning_marks=marks)
        for slot, marks in ((2, (-1, -1)), (0, (-1, -1)), (1, (0, -1)))
    ]
    forcing.lay_out(requests, torch.tensor([2, 0, 1]))
    given = []
    for at, fires in enumerate(([False, False, True], [True, True, False], [False] * 3), 5):
        positions = torch.full((3,), at)
        step = forcing.step(positions, STOPS.repeat(3))
        fired = torch.tensor(fires) & ~step.begun
        marks = forcing.settle(step, fired, step.running)
        sampled = torch.tensor([OPENS if at == 5 else 4, 4, 4])
        tokens = torch.where((marks & FORCED) > 0, step.tokens, sampled)
        forcing.follow(positions, tokens, [])
        given.append(list(zip(tokens.tolist(), marks.tolist(), strict=True)))

    assert given == [
        [(OPENS, 0), (4, 0), (8, FORCED | BEGINS)],
        [(8, FORCED | BEGINS), (STOP, FORCED | ENDS), (CLOSES, FORCED)],
        [(CLOSES, FORCED), (4, 0), (4, 0)],
    ]


def test_room_is_made_for_requests_once() -> None:
    """However often the batch changes."""
    forcing = Forcing(SCRIPTS, torch.device("cpu"))
    for count in range(100):
        slot = count % 3
        request = live(action=AbstainAction.MESSAGE, slot=slot)
        forcing.lay_out([request], torch.tensor([slot]))
        assert len(forcing._state) < 10


def test_what_is_decided_is_as_small_as_it_says() -> None:
    """It goes to the host in every step."""
    forcing = Forcing(SCRIPTS, torch.device("cpu"))
    forcing.lay_out([live(action=AbstainAction.MESSAGE)], torch.tensor([0]))

    step = forcing.step(torch.tensor([5]), STOPS)
    marks = forcing.settle(step, torch.tensor([True]), step.running)

    assert {one.dtype for one in (step.positions, step.tokens, step.begins)} == {torch.int32}
    assert marks.dtype is torch.uint8


def test_what_is_followed_is_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the host lays out for it is made there, or where the device reads it by itself."""
    made, tensor = [], torch.tensor

    def placed(
        values: Any, *, dtype: Any = None, device: Any = "cpu", pin_memory: bool = False
    ) -> torch.Tensor:
        made.append("pinned" if pin_memory else torch.device(device or "cpu").type)
        return tensor(values, dtype=dtype, device=device)

    slots = torch.tensor([0], device="meta")
    monkeypatch.setattr(torch, "tensor", placed)
    forcing = Forcing(SCRIPTS, slots.device)
    forcing.lay_out([live(action=AbstainAction.MESSAGE)], slots)

    assert set(made) == {"pinned", "meta"}
    assert forcing._state.device.type == "meta"


def test_requests_that_only_end_cost_nothing() -> None:
    """Nothing is followed for them."""
    forcing = Forcing(SCRIPTS, torch.device("cpu"))
    assert not forcing.active
    forcing.lay_out([live()], torch.tensor([0]))

    assert not forcing.active
