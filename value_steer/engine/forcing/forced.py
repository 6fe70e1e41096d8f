"""Where each request stands in what it is made to say.

Everything is decided on the device, because nothing here may wait for it. A script is followed by
position: the token of a script that a step gives out is that of the position it samples, so a step
that is dropped, or taken again, gives out the same one. Where a script begins, such a step judges
anew, since another token may stand before it then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from value_steer.engine.forcing.scripts import NONE, SPEAK, STOP
from value_steer.engine.host_copy import upload
from value_steer.request_settings import AbstainAction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from value_steer.engine.forcing.scripts import Scripts
    from value_steer.engine.live_request import LiveRequest

FORCED, ENDS, BEGINS = 1, 2, 4
"""Bits of a row's decision: its token is not the sampled one, ends the request, begins a script."""

_ROWS = tuple((action, constrained) for action in AbstainAction for constrained in (False, True))
"""A row's action when it fires, and whether a grammar decides which tokens it may give out."""

_SCRIPT, _START, _OPENED, _CLOSED = range(4)
_RECENT = 4
"""Positions that may be rolled back: one by a refusal, and what was in flight at a preemption."""
_WIDTH = 4 + 2 * _RECENT
_UNUSED = -1  # no token


@dataclass(frozen=True, slots=True)
class ForcedStep:
    """The forced output of a step, row by row, before anything is decided in it.

    Attributes:
        positions: ``[rows]`` int32, tokens of the sequences behind which that would stand.
        tokens: ``[rows]`` int32, what a row gives out if it is forced.
        begun: ``[rows]`` bool, rows that have fired before this position.
        running: ``[rows]`` bool, those of them that are inside their script.
        again: ``[rows]`` bool, rows whose script began at this position, if it does so again.
        final: ``[rows]`` bool, those of them that give out the token that ends them.
        begins: ``[rows]`` int32, the script that begins if the row fires; ``NONE``: it ends.
    """

    positions: Tensor
    tokens: Tensor
    begun: Tensor
    running: Tensor
    again: Tensor
    final: Tensor
    begins: Tensor


class Forcing:
    """Makes requests say their scripts.

    Args:
        scripts: What the engine can say.
        device: Where the batch is.

    Attributes:
        active: Whether a request of the batch does anything but end when it fires.
    """

    def __init__(self, scripts: Scripts, device: torch.device) -> None:
        tokens = scripts.tokens()
        longest = max(map(len, tokens)) or 1
        padded = [[*script, *[STOP] * (longest - len(script))] for script in tokens]
        self._scripts = torch.tensor(padded, dtype=torch.int32, device=device)
        self._sizes = torch.tensor(list(map(len, tokens)), dtype=torch.int32, device=device)
        self._chosen = torch.tensor(
            [
                [scripts.chosen(a, thinking=inside, constrained=c) for inside in (False, True)]
                for a, c in _ROWS
            ],
            dtype=torch.int32,
            device=device,
        )
        reasoning = scripts.reasoning
        self._tokens = [
            _UNUSED if token is None else token
            for token in ((reasoning.start, reasoning.end) if reasoning else (None, None))
        ]
        # Of each slot: its script and where that began, where reasoning was opened and closed last,
        # and the same for each of the last positions, which may be rolled back.
        self._state = torch.zeros((0, _WIDTH), dtype=torch.int32, device=device)
        self.active = False

    def lay_out(self, requests: Sequence[LiveRequest], slots: Tensor) -> None:
        """Take in a batch whose composition changed, one request per row."""
        self.active = any(r.action is not AbstainAction.END for r in requests)
        if not self.active:
            return
        self._slots = slots
        self._reserve(max(r.slot for r in requests) + 1)
        self._enter([r for r in requests if not r.followed])
        self._kinds = upload([_ROWS.index((r.action, r.constrained)) for r in requests], slots)
        self._complete = upload([r.complete for r in requests], slots, torch.bool)

    def step(self, positions: Tensor, stop_tokens: Tensor) -> ForcedStep:
        """The forced output of the rows now.

        Args:
            positions: ``[rows]`` int64, tokens of the sequences behind which they would stand.
            stop_tokens: ``[rows]`` int32, the token that ends each row's request.
        """
        positions = positions.to(self._state.dtype)
        state = self._state[self._slots]
        script, index = state[:, _SCRIPT], positions - state[:, _START]
        said = script != NONE
        begun = said & (index > 0)
        size = self._sizes[script]
        running = begun & (index < size) & self._complete
        thinking = _last(state, _OPENED, positions) > _last(state, _CLOSED, positions)
        begins = self._chosen[self._kinds, thinking.long()]
        which = torch.where(running, script, begins)
        tokens = self._scripts[which, torch.where(running, index, 0)]
        return ForcedStep(
            positions=positions,
            tokens=torch.where(tokens == STOP, stop_tokens, tokens),
            begun=begun,
            running=running,
            again=said & (index == 0) & self._complete,
            final=running & (script >= SPEAK) & (index == size - 1),
            begins=begins,
        )

    def settle(self, step: ForcedStep, fired: Tensor, goes_on: Tensor) -> Tensor:
        """Let the rows that fired begin, and say what is decided of each row.

        Args:
            step: Of :meth:`step`.
            fired: ``[rows]`` bool, rows that fire now.
            goes_on: ``[rows]`` bool, rows that follow their script in this step.

        Returns:
            ``[rows]`` uint8, the bits ``FORCED``, ``ENDS`` and ``BEGINS``.
        """
        begins = fired & (step.begins != NONE)
        state = self._state[self._slots]
        kept = state[:, _SCRIPT].masked_fill(step.again, NONE)
        state[:, _SCRIPT] = torch.where(begins, step.begins, kept)
        state[:, _START] = torch.where(begins, step.positions, state[:, _START])
        self._state[self._slots] = state
        ends = (fired & ~begins) | (goes_on & step.final)
        marks = (fired | goes_on).to(torch.uint8) * FORCED
        marks += ends.to(torch.uint8) * ENDS
        return marks + begins.to(torch.uint8) * BEGINS

    def follow(self, positions: Tensor, tokens: Tensor, again: Sequence[int]) -> None:
        """Take in what the sequences end in since this step.

        Args:
            positions: ``[rows]`` int64, tokens of the sequences that the step completed.
            tokens: ``[rows]``.
            again: Rows that took their last position again.
        """
        if not self.active:
            return
        positions = positions.to(self._state.dtype, copy=True)
        positions[list(again)] -= 1
        state = self._state[self._slots]
        for column, token in zip((_OPENED, _CLOSED), self._tokens, strict=True):
            place = (_recent(column).start + positions % _RECENT).long().unsqueeze(1)
            # What leaves the last positions is final; what lies ahead was rolled back.
            leaving = state.gather(1, place).squeeze(1)
            final = torch.where(leaving < positions, leaving, -1)
            state[:, column] = torch.maximum(state[:, column], final)
            found = torch.where(tokens == token, positions, -1).to(state.dtype)
            state.scatter_(1, place, found.unsqueeze(1))
        whole = self._complete.unsqueeze(1)
        self._state[self._slots] = torch.where(whole, state, self._state[self._slots])

    def _enter(self, requests: Sequence[LiveRequest]) -> None:
        """Begin to follow requests, from what their prompts leave open."""
        if not requests:
            return
        marks = [[NONE, 0, *r.reasoning_marks, *[-1] * (2 * _RECENT)] for r in requests]
        slots = torch.tensor([r.slot for r in requests], device=self._state.device)
        self._state[slots] = torch.tensor(marks, dtype=torch.int32, device=self._state.device)
        for request in requests:
            request.followed = True

    def _reserve(self, slots: int) -> None:
        missing = slots - len(self._state)
        if missing > 0:
            self._state = torch.cat([self._state, self._state.new_zeros((missing + slots, _WIDTH))])


def _last(state: Tensor, column: int, lengths: Tensor) -> Tensor:
    """The last position of a token in sequences of these lengths."""
    recent = state[:, _recent(column)]
    ahead = recent >= lengths.unsqueeze(1)
    return torch.maximum(state[:, column], recent.masked_fill(ahead, -1).amax(1))


def _recent(column: int) -> slice:
    """The columns of the last positions that belong to one of the final ones."""
    first = 4 + (column - _OPENED) * _RECENT
    return slice(first, first + _RECENT)
