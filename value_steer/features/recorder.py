"""The hidden states of running requests, gathered step by step in host memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from value_steer.features.errors import CaptureError
from value_steer.features.keys import CAPTURE_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor


@dataclass(slots=True)
class _Recording:
    """The states of one request: one after each of its tokens, and one before the first."""

    request_id: str
    prompt_length: int
    prior: Tensor | None = None
    tokens: list[int] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)

    def keep(self, place: int, state: Tensor, token: int | None) -> None:
        """Keep the state after a response token; ``None``: the one that is known already."""
        if place > len(self.states) or (token is None and place == len(self.states)):
            msg = (
                f"request {self.request_id}: the state after response token {place + 1} came, and "
                f"those of {len(self.states)} tokens are there"
            )
            raise CaptureError(msg)
        token = self.tokens[place] if token is None else token
        self.tokens[place:], self.states[place:] = [token], [state]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The states of one response.

    Attributes:
        tokens: ``[T]`` int32.
        hidden: ``[T, H]``, after each of them.
        prior: ``[H]``, at the last position of the prompt.
    """

    tokens: Tensor
    hidden: Tensor
    prior: Tensor


class Recorder:
    """Keeps states by position, so that one computed twice is kept once."""

    def __init__(self) -> None:
        self._by_key: dict[str, _Recording] = {}
        self._running: dict[str, _Recording] = {}

    def admit(self, request_id: str, key: str, prompt_length: int) -> None:
        """A request enters the engine, or comes back to it after a preemption."""
        if request_id not in self._running:
            recording = _Recording(request_id, prompt_length)
            self._by_key[key] = self._running[request_id] = recording

    def finish(self, request_id: str) -> None:
        """A request has left the engine: completed, or aborted."""
        self._running.pop(request_id, None)

    def note(
        self,
        lengths: Mapping[str, int],
        last_token: Callable[[str], int | None],
        ids: Sequence[str],
        feature: Tensor,
    ) -> None:
        """Keep the states of a step.

        Args:
            lengths: Of the sequences, for the rows whose forward pass reached their end.
            last_token: The token that a sequence ends in.
            ids: The requests of the rows.
            feature: ``[rows, H]``, after consuming those tokens.

        Raises:
            CaptureError: A state before this one was not seen.
        """
        wanted = [row for row, name in enumerate(ids) if name in self._running and name in lengths]
        if not wanted:
            return
        # One copy for the batch; the rows keep it alive, and the engine's buffer is reused.
        states = feature[torch.tensor(wanted, device=feature.device)].cpu()
        for row, state in zip(wanted, states, strict=True):
            name = ids[row]
            recording = self._running[name]
            place = lengths[name] - recording.prompt_length - 1
            if place < 0:
                recording.prior = state
            else:
                # A sequence that was run anew after a preemption ends in a token given out before.
                token = last_token(name)
                recording.keep(place, state, token)

    def take(self, keys: Sequence[str], lengths: Sequence[int]) -> list[Recorded]:
        """Hand out what was recorded under these keys, cut to so many tokens; forget the rest.

        Raises:
            CaptureError: A key is unknown, or fewer tokens of it were seen.
        """
        taken = [self._take(key, length) for key, length in zip(keys, lengths, strict=True)]
        self._by_key.clear()
        self._running.clear()
        return taken

    def _take(self, key: str, length: int) -> Recorded:
        recording = self._by_key.get(key)
        if recording is None or recording.prior is None:
            msg = f"{key!r} was not captured; it must carry {CAPTURE_KEY} in its extra_args"
            raise CaptureError(msg)
        if len(recording.states) < length:
            msg = f"{key!r}: {len(recording.states)} tokens captured, {length} expected"
            raise CaptureError(msg)
        states = recording.states[:length]
        empty = recording.prior.new_empty(0, len(recording.prior))
        return Recorded(
            tokens=torch.tensor(recording.tokens[:length], dtype=torch.int32),
            hidden=torch.stack(states) if states else empty,
            prior=recording.prior,
        )
